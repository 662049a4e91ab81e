-- What version 1 of the loop's state wrote.
BEGIN TRANSACTION;
CREATE TABLE attempts (
    benchmark TEXT, platform TEXT, "commit" TEXT, number INTEGER, PRIMARY KEY (benchmark, platform, "commit")
) WITHOUT ROWID;
CREATE TABLE culprits (
    benchmark TEXT, platform TEXT, regressed TEXT, test TEXT, type TEXT, ratio REAL, good TEXT,
    "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT, note TEXT, found_at REAL,
    PRIMARY KEY (benchmark, platform, regressed, test, type)
) WITHOUT ROWID;
INSERT INTO "culprits" VALUES('a.json','host','2222222222222222222222222222222222222222','net first test on host','NET_DELAY',2.0,'1111111111111111111111111111111111111111','2222222222222222222222222222222222222222',1772449200,'Ann <ann@example.org>','second','',1772500015.0);
CREATE TABLE failed_builds (
    platform TEXT, "commit" TEXT, script_sha256 TEXT, message TEXT, PRIMARY KEY (platform, "commit")
) WITHOUT ROWID;
CREATE TABLE pending (
    benchmark TEXT, platform TEXT, "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT,
    position INTEGER, waits_for TEXT, PRIMARY KEY (benchmark, platform, "commit")
) WITHOUT ROWID;
CREATE TABLE positions (
    benchmark TEXT, branch TEXT, "commit" TEXT, is_done INTEGER, PRIMARY KEY (benchmark, branch)
) WITHOUT ROWID;
INSERT INTO "positions" VALUES('a.json','master','3333333333333333333333333333333333333333',1);
CREATE TABLE probes (
    benchmark TEXT, platform TEXT, good TEXT, "commit" TEXT, ratios TEXT,
    PRIMARY KEY (benchmark, platform, good, "commit")
) WITHOUT ROWID;
INSERT INTO "probes" VALUES('a.json','host','1111111111111111111111111111111111111111','2222222222222222222222222222222222222222','{"net first test on host": {"NET_DELAY": 2.0}}');
CREATE TABLE runs (
    benchmark TEXT, platform TEXT, "commit" TEXT, commit_time INTEGER, author TEXT, subject TEXT,
    status TEXT, detail TEXT, control TEXT, build_s REAL, run_s REAL, finished_at REAL, suspects TEXT,
    PRIMARY KEY (benchmark, "commit", platform)
) WITHOUT ROWID;
INSERT INTO "runs" VALUES('a.json','host','1111111111111111111111111111111111111111',1772445600,'Ann <ann@example.org>','first','measured','1 test',NULL,1.0,2.0,1772500000.0,'[]');
INSERT INTO "runs" VALUES('a.json','host','2222222222222222222222222222222222222222',1772449200,'Ann <ann@example.org>','second','regressed','1 test','1111111111111111111111111111111111111111',1.0,2.0,1772500010.0,'[["net first test on host", "NET_DELAY", 2.0]]');
INSERT INTO "runs" VALUES('a.json','host','3333333333333333333333333333333333333333',1772452800,'Ann <ann@example.org>','third','regressed','1 test','1111111111111111111111111111111111111111',1.0,2.0,1772500020.0,'[["net first test on host", "NET_DELAY", 2.0]]');
CREATE INDEX runs_by_time ON runs (finished_at);
CREATE INDEX runs_by_status ON runs (status, finished_at);
COMMIT;
PRAGMA user_version=1;
