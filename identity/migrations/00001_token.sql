-- +goose Up
create table identity.token (
	id           text        primary key,
	digest       bytea       not null unique check (octet_length(digest) = 32), -- SHA-256 of the token's text; the text itself is kept nowhere
	label        text        not null,
	person       text        not null check (person <> ''),
	name         text        not null,
	role         text        not null,
	agencies     text[]      not null,
	created_at   timestamptz not null,
	created_by   text        not null, -- person of the administrator, or 'bootstrap'
	expires_at   timestamptz,          -- null: never
	revoked_at   timestamptz,
	revoked_by   text,
	last_used_at timestamptz           -- to the minute, for people to see what is still in use
);

-- +goose Down
drop table identity.token;
