#!/bin/sh
# Run by the postgres image, once, when its data folder is empty.
set -eu
psql --set ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
\set migrate_password \`cat /run/secrets/parley/migrate_password\`
\set service_password \`cat /run/secrets/parley/service_password\`
\i /etc/parley/roles.sql
\i /etc/parley/privileges.sql
SQL
