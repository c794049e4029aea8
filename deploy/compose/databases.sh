#!/bin/sh
# A database a block: no block can read another's tables. The role of the suite owns none of them;
# `publica migrate` grants it what it needs.
set -eu
: "${SERVICE_PASSWORD:?is the password of the suite, which must be set}"
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set password="$SERVICE_PASSWORD" <<'SQL'
CREATE ROLE publica_service LOGIN PASSWORD :'password';
CREATE DATABASE identity;
CREATE DATABASE signature;
CREATE DATABASE payments;
CREATE DATABASE messaging;
CREATE DATABASE registration;
CREATE DATABASE consent;
SQL
