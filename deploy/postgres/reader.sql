-- A login for somebody outside who reads the figures (Grafana, a trust's analysts): the views of schema kpi_v1 and nothing else, read-only,
-- and no query longer than half a minute. Run as the cluster's owner, after roles.sql.
--
--   psql -X -v reader=hearthline_grafana -v passwords=/etc/hearthline/postgres -f deploy/postgres/reader.sql
--
-- reader            the role's name; the folder `passwords` holds a file of that name with its password
\set ON_ERROR_STOP on
\set QUIET on
\if :{?passwords} \else
  \set passwords /dev/null
\endif
\if :{?reader} \else
  do $$ begin raise exception 'whose login? psql -v reader=NAME'; end $$;
\endif
select current_setting('is_superuser') = 'on' as by_superuser \gset
\if :by_superuser
  select count(set_config(name, value, false)) as quietened
  from (values ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic')) as quiet (name, value) \gset
\endif
set password_encryption = 'scram-sha-256';
\set password `cat :'passwords'/:'reader'`
select format('do %L', format('begin raise exception %L; end', 'no password of 16 or more characters for ' || :'reader'
    || ': give a folder with a file of that name, psql -v passwords=FOLDER')) where length(:'password') < 16 \gexec
select format('create role %I login', :'reader') where not exists (select from pg_roles where rolname = :'reader') \gexec
alter role :"reader" password :'password' connection limit 10;
alter role :"reader" set default_transaction_read_only = on;
alter role :"reader" set statement_timeout = '30s';
grant hearthline_kpi_reader to :"reader";
