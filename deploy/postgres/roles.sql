-- The roles and databases of one deployment. Run it as the cluster's owner, once, and again whenever a password changes; afterwards
-- nothing needs a superuser.
--
--   psql -X -v passwords=/etc/hearthline/postgres -f deploy/postgres/roles.sql
--
-- passwords         the folder with one file for each login role, named as the role, holding its password
-- database          the database of the services' stores; `hearthline` unless given
-- keyring_database  the database of the keys, whose backups are kept apart; `hearthline_keyring` unless given
--
-- Schemas and tables are no part of this: `hearthline migrate` makes them as hearthline_ddl and grants each service its own.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?passwords} \else
  \set passwords /dev/null
\endif
\if :{?database} \else
  \set database hearthline
\endif
\if :{?keyring_database} \else
  \set keyring_database hearthline_keyring
\endif

select (current_setting('server_version_num')::int < 150000) as too_old, current_setting('is_superuser') = 'on' as by_superuser \gset
\if :too_old
  do $$ begin raise exception 'PostgreSQL 15 or newer is needed; this is %', current_setting('server_version'); end $$;
\endif

-- hearthline_ddl runs the migrations and owns what they make; each service logs in as itself and nothing else. Whoever reads the
-- figures from outside (Grafana, a trust's analysts) gets a login of their own that is a member of hearthline_kpi_reader.
create temporary table login_role (name text primary key);
insert into login_role values ('hearthline_ddl'), ('hearthline_call_intake'), ('hearthline_clinical_outcome'), ('hearthline_prescribing'),
  ('hearthline_shared_record'), ('hearthline_kpi_projection'), ('hearthline_pas_gateway'), ('hearthline_directory');

-- The passwords, a line each: "role password". One of fewer than 16 characters is none.
\set lines `cd :'passwords' && for file in hearthline_*; do printf '%s %s\n' "$file" "$(cat "$file")"; done`
create temporary table given as
  select split_part(line, ' ', 1) as name, substr(line, strpos(line, ' ') + 1) as password from regexp_split_to_table(:'lines', '\n') as line;
select format('do %L', format('begin raise exception %L; end', 'no password of 16 or more characters for ' || string_agg(name, ', ')
    || ': give a folder with a file for each, psql -v passwords=FOLDER'))
from login_role where not exists (select from given where given.name = login_role.name and length(password) >= 16)
having count(*) > 0 \gexec

-- A statement with a password in it must not reach the server's log.
\if :by_superuser
  select count(set_config(name, value, false)) as quietened
  from (values ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic')) as quiet (name, value) \gset
\endif
set password_encryption = 'scram-sha-256';

select format('create role %I login', name) from login_role where not exists (select from pg_roles where rolname = name) \gexec
select 'create role hearthline_kpi_reader nologin' where not exists (select from pg_roles where rolname = 'hearthline_kpi_reader') \gexec
select format('alter role %I password %L', name, password) from login_role join given using (name) \gexec

-- A role that was here before and may more than ours must is somebody's mistake; it is not mended in silence.
select format('do %L', format('begin raise exception %L; end', string_agg(rolname, ', ')
    || ' may more than connect and use what is granted: alter role … nosuperuser nocreatedb nocreaterole nobypassrls noreplication'))
from pg_roles where (rolname in (select name from login_role) or rolname = 'hearthline_kpi_reader')
  and (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls or rolreplication)
having count(*) > 0 \gexec

-- An owner that is no superuser (a hosted cluster) hands a database over only to a role it is a member of.
\if :by_superuser \else
  grant hearthline_ddl to current_user;
\endif

-- Collation C: text sorts the same on every machine and in both editions, and no upgrade of the system's library reorders an index.
select format('create database %I owner hearthline_ddl template template0 encoding %L lc_collate %L lc_ctype %L', name, 'UTF8', 'C', 'C')
from unnest(array[:'database', :'keyring_database']) as name where not exists (select from pg_database where datname = name) \gexec
select format('alter database %I owner to hearthline_ddl', datname)
from pg_database where datname in (:'database', :'keyring_database') and datdba <> 'hearthline_ddl'::regrole \gexec

-- kpi-projection never knows who anyone is: it has no business in the keyring.
select format('revoke all on database %I from public, hearthline_kpi_projection', database),
  format('grant connect on database %I to %s', database, string_agg(quote_ident(name), ', '))
from (values (:'database', ''), (:'keyring_database', 'hearthline_kpi_projection')) as entered (database, but_for), login_role
where name not in ('hearthline_ddl', but_for) group by database \gexec
grant connect on database :"database" to hearthline_kpi_reader;

\connect :"database"
revoke all on schema public from public;
\connect :"keyring_database"
revoke all on schema public from public;
