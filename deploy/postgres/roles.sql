-- Two roles, made once by a superuser in the database `parley`; then privileges.sql:
--   parley_migrate  owns the schema and may change it (`python -m chat_store migrate`);
--   chat_store      reads and writes rows, and can change nothing else.
-- psql --set migrate_password=… --set service_password=… --file roles.sql

CREATE ROLE parley_migrate LOGIN PASSWORD :'migrate_password';
CREATE ROLE chat_store LOGIN PASSWORD :'service_password';
