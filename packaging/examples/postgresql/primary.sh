#!/bin/sh
# primary.sh: run once on db-1 as the user postgres, with tidegate.conf and pg_hba.conf in force. Makes the
# gateways' user and database, and the user that a standby follows with. Their passwords are the two lines of
# /etc/postgresql/tidegate.pass (mode 0600): the gateways', then the standby's.
set -eu

{ read -r gateway && read -r standby; } </etc/postgresql/tidegate.pass
export gateway standby
# There is no standby yet whose word a commit could wait for.
PGOPTIONS='-c synchronous_commit=local' psql -X -q -v ON_ERROR_STOP=1 -d postgres <<'SQL'
\getenv gateway gateway
\getenv standby standby
CREATE ROLE tidegate LOGIN PASSWORD :'gateway';
CREATE ROLE tidegate_standby LOGIN REPLICATION PASSWORD :'standby';
CREATE DATABASE tidegate OWNER tidegate TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE tidegate FROM PUBLIC;
SQL
