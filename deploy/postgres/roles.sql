-- Two roles, made once by a superuser in the database that Parley uses:
--   parley_migrate  owns the schema and may change it (`python -m chat_store migrate`);
--   chat_store      reads and writes rows, and can change nothing else (chat-store).
-- Passwords: psql -v migrate_password=… -v service_password=… -f roles.sql

CREATE ROLE parley_migrate LOGIN PASSWORD :'migrate_password';
CREATE ROLE chat_store LOGIN PASSWORD :'service_password';

-- Nobody else gets in or makes anything.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO chat_store', current_database()) \gexec
SELECT format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO parley_migrate', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO parley_migrate;
GRANT USAGE ON SCHEMA public TO chat_store;

-- What the migrations will make is for the service to use.
ALTER DEFAULT PRIVILEGES FOR ROLE parley_migrate IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO chat_store;
ALTER DEFAULT PRIVILEGES FOR ROLE parley_migrate IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO chat_store;
ALTER DEFAULT PRIVILEGES FOR ROLE parley_migrate IN SCHEMA public
  GRANT EXECUTE ON FUNCTIONS TO chat_store;
