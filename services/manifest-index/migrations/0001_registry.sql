-- The tenant leads every key of what a tenant owns, so that these tables can be distributed by it.
-- Digests are one byte for the algorithm (1 sha256, 2 sha512) and the raw hash: they sort as their text does.
-- Dates are milliseconds since 1970 by the database's clock.

CREATE TABLE tenant (
    id {identity},
    name {text} NOT NULL UNIQUE
) {strict};

-- Made by the first content. Never deleted, so that a name keeps its id.
CREATE TABLE repository (
    tenant {int} NOT NULL REFERENCES tenant (id) ON DELETE RESTRICT,
    id {int} NOT NULL,
    name {text} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
) {keyed};

CREATE INDEX repository_by_name ON repository (name);

-- One stored object. Bytes are shared between tenants, so it belongs to none. Ids are random and never used again.
CREATE TABLE blob (
    id {int} NOT NULL PRIMARY KEY,
    digest {bytes} NOT NULL,
    key {text} NOT NULL UNIQUE,
    size {int} NOT NULL CHECK (size >= 0),
    state {text} NOT NULL CHECK (state IN ('live', 'condemned', 'deleting')),
    since {int} NOT NULL
) {strict};

CREATE UNIQUE INDEX blob_live ON blob (digest) WHERE state = 'live';

-- A repository has a blob. Without a manifest that needs it, it is kept until the lease is over.
CREATE TABLE link (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    digest {bytes} NOT NULL,
    blob {int} NOT NULL REFERENCES blob (id) ON DELETE RESTRICT,
    lease_until {int} NOT NULL,
    PRIMARY KEY (tenant, repository, digest),
    FOREIGN KEY (tenant, repository) REFERENCES repository (tenant, id) ON DELETE RESTRICT
) {keyed};

CREATE INDEX link_by_blob ON link (blob);

-- The payload comes last: reading the columns before it does not touch its pages.
CREATE TABLE manifest (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    digest {bytes} NOT NULL,
    media_type {text} NOT NULL,
    size {int} NOT NULL,
    subject {bytes},
    artifact_type {text},
    pushed_at {int} NOT NULL,
    annotations {text} NOT NULL,
    payload {bytes} NOT NULL,
    PRIMARY KEY (tenant, repository, digest),
    FOREIGN KEY (tenant, repository) REFERENCES repository (tenant, id) ON DELETE RESTRICT
) {strict};

-- The subject is no foreign key: a referrer may be pushed before it.
CREATE INDEX manifest_by_subject ON manifest (tenant, repository, subject, digest) WHERE subject IS NOT NULL;

-- An index lists a manifest.
CREATE TABLE manifest_child (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    parent {bytes} NOT NULL,
    child {bytes} NOT NULL,
    PRIMARY KEY (tenant, repository, parent, child),
    FOREIGN KEY (tenant, repository, parent) REFERENCES manifest (tenant, repository, digest) ON DELETE RESTRICT,
    FOREIGN KEY (tenant, repository, child) REFERENCES manifest (tenant, repository, digest) ON DELETE RESTRICT
) {keyed};

CREATE INDEX manifest_child_by_child ON manifest_child (tenant, repository, child, parent);

-- A manifest needs a blob of its repository.
CREATE TABLE manifest_blob (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    manifest {bytes} NOT NULL,
    digest {bytes} NOT NULL,
    PRIMARY KEY (tenant, repository, manifest, digest),
    FOREIGN KEY (tenant, repository, manifest) REFERENCES manifest (tenant, repository, digest) ON DELETE RESTRICT,
    FOREIGN KEY (tenant, repository, digest) REFERENCES link (tenant, repository, digest) ON DELETE RESTRICT
) {keyed};

CREATE INDEX manifest_blob_by_digest ON manifest_blob (tenant, repository, digest, manifest);

CREATE TABLE tag (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    name {text} NOT NULL,
    digest {bytes} NOT NULL,
    moved_at {int} NOT NULL,
    PRIMARY KEY (tenant, repository, name),
    FOREIGN KEY (tenant, repository, digest) REFERENCES manifest (tenant, repository, digest) ON DELETE RESTRICT
) {keyed};

CREATE INDEX tag_by_digest ON tag (tenant, repository, digest);

-- One row per change of a tag; without a digest where the tag was deleted.
CREATE TABLE tag_history (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    name {text} NOT NULL,
    version {int} NOT NULL,
    digest {bytes},
    changed_at {int} NOT NULL,
    PRIMARY KEY (tenant, repository, name, version)
) {keyed};

-- A session belongs to a name: the repository may not exist before its first content does.
CREATE TABLE upload (
    id {text} NOT NULL PRIMARY KEY,
    repository {text} NOT NULL,
    principal {text} NOT NULL,
    key {text} NOT NULL UNIQUE,
    algorithm {text} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('open', 'finalizing', 'done', 'dead')),
    epoch {int} NOT NULL,
    size {int} NOT NULL,
    writer_state {bytes} NOT NULL,
    digest {bytes},
    updated_at {int} NOT NULL
) {keyed};

CREATE INDEX upload_by_age ON upload (state, updated_at);

-- What lost an edge that kept it, to be looked at when the delay is over. kind: 'manifest' and 'link' of the
-- repository; 'blob' for the rows of a digest whose link in the repository went away.
CREATE TABLE gc_review (
    tenant {int} NOT NULL,
    repository {int} NOT NULL,
    kind {text} NOT NULL CHECK (kind IN ('manifest', 'link', 'blob')),
    digest {bytes} NOT NULL,
    review_after {int} NOT NULL,
    PRIMARY KEY (tenant, repository, kind, digest)
) {keyed};

CREATE INDEX gc_review_due ON gc_review (review_after);

-- Keys to delete. Ids are random and never used again, so that a late acknowledgement names nothing newer.
CREATE TABLE garbage (
    id {int} NOT NULL PRIMARY KEY,
    key {text} NOT NULL UNIQUE,
    reason {text} NOT NULL,
    queued_at {int} NOT NULL,
    held_until {int} NOT NULL
) {strict};

CREATE INDEX garbage_due ON garbage (held_until);
