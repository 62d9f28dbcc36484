#!/bin/sh
# standby.sh NAME PRIMARY: run as the user postgres on the server that is to follow. NAME is its own, db_1 or
# db_2; PRIMARY is the address of the other. Its data folder must be empty, or not there: a former primary's is
# moved away first, never used again. The standby's password is the second line of
# /etc/postgresql/tidegate.pass.
set -eu
name=$1 primary=$2
data=/var/lib/postgresql/15/main

PGPASSWORD=$(sed -n 2p /etc/postgresql/tidegate.pass)
export PGPASSWORD
pg_basebackup --pgdata="$data" --wal-method=stream --checkpoint=fast --write-recovery-conf \
    --dbname="host=$primary port=5432 user=tidegate_standby application_name=$name sslmode=verify-full sslrootcert=/etc/postgresql/tls/ca.pem"
echo "$name is a copy of $primary; start it: systemctl start postgresql@15-main"
