-- Run after each migration, by the migrator: allows the processes to log in. It reads the passwords each time. To
-- change one, write its file and run this again.
\set app_api_password `cat /run/secrets/app_api_password`
\set app_worker_password `cat /run/secrets/app_worker_password`
\set app_keys_password `cat /run/secrets/app_keys_password`
\set watcher_password `cat /run/secrets/watcher_password`
\set audit_sealer_password `cat /run/secrets/audit_sealer_password`
\set auditor_password `cat /run/secrets/auditor_password`

alter role app_api login password :'app_api_password';
alter role app_worker login password :'app_worker_password';
alter role app_keys login password :'app_keys_password';
alter role watcher login password :'watcher_password';
alter role audit_sealer login password :'audit_sealer_password';
-- No process uses this role: it is for people who verify.
alter role auditor login password :'auditor_password';
