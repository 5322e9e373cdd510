-- Writes that took effect, under a random name that each has for itself. A write whose outcome got lost runs again and
-- finds its own name here. Forgotten once nobody can ask any more.
CREATE TABLE operation (
    tenant {int} NOT NULL,
    id {bytes} NOT NULL,
    done_at {int} NOT NULL,
    PRIMARY KEY (tenant, id)
) {keyed};

CREATE INDEX operation_by_age ON operation (done_at);
