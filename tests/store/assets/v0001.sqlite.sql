BEGIN TRANSACTION;
CREATE TABLE artifacts (
	trial_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	path TEXT NOT NULL, 
	CONSTRAINT pk_artifacts PRIMARY KEY (trial_id, name), 
	CONSTRAINT fk_artifacts_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "artifacts" VALUES(1,'model','trials/0/model.safetensors');
CREATE TABLE autotune_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT autotune_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "autotune_schema" VALUES('0001');
CREATE TABLE curve_points (
	trial_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	total_steps INTEGER NOT NULL, 
	samples BIGINT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	loss DOUBLE, 
	metrics JSON NOT NULL, 
	CONSTRAINT pk_curve_points PRIMARY KEY (trial_id, position), 
	CONSTRAINT fk_curve_points_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "curve_points" VALUES(1,0,10,20,80,1.5,2.25,'{}');
INSERT INTO "curve_points" VALUES(1,1,20,20,160,3.0,9e999,'{"accuracy": 0.25}');
CREATE TABLE environments (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	recorded_at DATETIME NOT NULL, 
	fingerprint VARCHAR(64), 
	git_commit VARCHAR(64), 
	document JSON NOT NULL, 
	CONSTRAINT pk_environments PRIMARY KEY (id), 
	CONSTRAINT fk_environments_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE
);
INSERT INTO "environments" VALUES(1,1,'2026-02-01 10:00:00.000000','f00d','c0ffee','{"fingerprint": "f00d", "git_commit": "c0ffee", "versions": {"torch": "2.13"}}');
CREATE TABLE events (
	trial_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	kind TEXT NOT NULL, 
	message TEXT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (trial_id, position), 
	CONSTRAINT fk_events_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES(1,0,'2026-03-01 12:30:01.000250','phase','training');
CREATE TABLE measurements (
	trial_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value DOUBLE NOT NULL, 
	unit VARCHAR(32) NOT NULL, 
	n BIGINT NOT NULL, 
	ci_low DOUBLE, 
	ci_high DOUBLE, 
	source INTEGER, 
	samples JSON NOT NULL, 
	warmup JSON NOT NULL, 
	CONSTRAINT pk_measurements PRIMARY KEY (trial_id, name), 
	CONSTRAINT fk_measurements_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "measurements" VALUES(1,'speed',201.5,'1/s',9,199.25,203.75,NULL,'[200.0, 200.33333333333334, 200.66666666666666, 201.0, 201.33333333333334, 201.66666666666666, 202.0, 202.33333333333334, 202.66666666666666]','[5.0, 6.0]');
INSERT INTO "measurements" VALUES(1,'accuracy',3.33333333333333314829e-01,'',400,0.3,0.4,0,'[]','[]');
INSERT INTO "measurements" VALUES(1,'cost_usd',1.0e-07,'USD',1,NULL,NULL,NULL,'[]','[]');
CREATE TABLE memory_timelines (
	trial_id INTEGER NOT NULL, 
	points JSON NOT NULL, 
	CONSTRAINT pk_memory_timelines PRIMARY KEY (trial_id), 
	CONSTRAINT fk_memory_timelines_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "memory_timelines" VALUES(1,'[[0.0, 0.5], [1.0, 0.75]]');
CREATE TABLE studies (
	id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	fingerprint VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	study JSON NOT NULL, 
	spec JSON NOT NULL, 
	CONSTRAINT pk_studies PRIMARY KEY (id), 
	CONSTRAINT uq_studies_name UNIQUE (name)
);
INSERT INTO "studies" VALUES(1,'old','ed01263c2f48ce7f','2026-02-01 10:00:00.000000','{"name": "old", "task": {"kind": "text-classification", "model": "builtin:minilm", "dataset": {"train": "a.jsonl", "validation": "b.jsonl"}, "columns": {"text": "text", "text_pair": "other", "label": "label"}, "epochs": 1.0, "steps": 20, "max_length": 128, "seed": 0, "train_samples": null, "validation_samples": null}, "objectives": [{"metric": "accuracy", "direction": "maximize"}, {"metric": "cost_usd", "direction": "minimize"}], "space": {"dimensions": [{"lever": "mixed", "domain": {"values": [true, 1, 1.0, "1", false, 0, 0.0, "0"]}, "when": null}, {"lever": "learning_rate", "domain": {"low": 1e-05, "high": 0.001, "step": null, "log": true, "integer": false}, "when": null}, {"lever": "batch_size", "domain": {"low": 8.0, "high": 64.0, "step": 8.0, "log": false, "integer": true}, "when": "mixed == 1"}], "defaults": {"mixed": true, "learning_rate": 5e-05, "batch_size": 8}, "rules": [{"excludes": "batch_size > 32", "reason": "too large"}]}, "constraints": [{"metric": "accuracy", "operator": ">=", "bound": -0.01, "relative": true}], "budget": {"trials": 24, "minutes": 10.0, "usd": null}, "limits": {"memory_gib": 8.0, "minutes": null}, "prices": {"cpu_core": 0.04, "gpus": {"H200": 4.0}}, "executor": {"kind": "local", "workers": 2, "address": null}, "sampler": {"kind": "nsga2", "seed": 7}, "start_with": [{"values": {"batch_size": 11, "fused": true, "name": "1", "rate": 1.0, "zero": 0}}, {"values": {"batch_size": 12, "fused": true, "name": "1", "rate": 1.0, "zero": 0}}], "spec": {}}','{"study": "old", "space": {"batch_size": [8, 16], "note": "\u00e9\u4e16"}, "none": null}');
CREATE TABLE trials (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	strategy_key VARCHAR(16) NOT NULL, 
	seed BIGINT NOT NULL, 
	origin VARCHAR(32) NOT NULL, 
	kind VARCHAR(32), 
	started_at DATETIME, 
	finished_at DATETIME, 
	reason TEXT, 
	strategy JSON NOT NULL, 
	environment JSON NOT NULL, 
	log TEXT, 
	CONSTRAINT pk_trials PRIMARY KEY (id), 
	CONSTRAINT uq_trials_study_id_number UNIQUE (study_id, number), 
	CONSTRAINT fk_trials_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE
);
INSERT INTO "trials" VALUES(1,1,0,'complete','b25519399f38a51f',0,'baseline',NULL,'2026-02-01 10:00:00.000000','2026-02-01 10:05:00.500000',NULL,'{"batch_size": 8, "fused": true, "name": "1", "rate": 1.0, "zero": 0}','{"threads": 2, "nested": {"list": [1, 2.0, true, null]}}','trials/0/log.txt');
INSERT INTO "trials" VALUES(2,1,1,'infeasible','e7b24d8287063f5d',0,'sampler','out_of_memory','2026-02-01 10:01:00.000000','2026-02-01 10:06:00.000000','9 GiB','{"batch_size": 9, "fused": true, "name": "1", "rate": 1.0, "zero": 0}','{}',NULL);
INSERT INTO "trials" VALUES(3,1,2,'running','ce474a2ce62c369c',0,'sampler',NULL,'2026-02-01 10:02:00.000000',NULL,NULL,'{"batch_size": 10, "fused": true, "name": "1", "rate": 1.0, "zero": 0}','{}',NULL);
INSERT INTO "trials" VALUES(4,1,3,'queued','abb9b01c0fe7ee20',0,'sampler',NULL,NULL,NULL,NULL,'{"batch_size": 11, "fused": true, "name": "1", "rate": 1.0, "zero": 0}','{}',NULL);
CREATE INDEX ix_environments_study_id ON environments (study_id);
CREATE INDEX ix_trials_study_id_state ON trials (study_id, state);
CREATE INDEX ix_trials_study_id_strategy_key ON trials (study_id, strategy_key);
COMMIT;
