-- Run once, by the Postgres image on its first start: who may connect, and whose databases they are. Nobody here is a
-- superuser. The roles of Holdfast's processes are made by its migrations and get their passwords from login.sql.
\set migrator_password `cat /run/secrets/migrator_password`
\set temporal_password `cat /run/secrets/temporal_password`

create role holdfast_migrator login createrole password :'migrator_password';
create database holdfast owner holdfast_migrator;

-- Temporal's schema tool makes its two databases itself.
create role temporal login createdb password :'temporal_password';
