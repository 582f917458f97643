-- Run once, by the Postgres image on its first start: login roles and database owners. No role here is a superuser. The
-- migrations create the roles of Holdfast's processes, and login.sql sets their passwords. Temporal's schema tool
-- creates its two databases itself.
\set migrator_password `cat /run/secrets/migrator_password`
\set temporal_password `cat /run/secrets/temporal_password`

create role holdfast_migrator login createrole password :'migrator_password';
create database holdfast owner holdfast_migrator;

-- Temporal's schema tool makes its two databases itself.
create role temporal login createdb password :'temporal_password';
