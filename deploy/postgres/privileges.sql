-- What the two roles of roles.sql may do in the database `parley`. Plain SQL: CloudNativePG runs it too.

-- No other role may connect or create anything.
REVOKE ALL ON DATABASE parley FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE parley TO parley_migrate;
GRANT CONNECT ON DATABASE parley TO chat_store;
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
