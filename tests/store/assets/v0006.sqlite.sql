BEGIN TRANSACTION;
CREATE TABLE access_tokens (
	id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	minutes DOUBLE, 
	created_at DATETIME NOT NULL, 
	revoked_at DATETIME, 
	CONSTRAINT pk_access_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_access_tokens_name UNIQUE (name), 
	CONSTRAINT uq_access_tokens_digest UNIQUE (digest)
);
CREATE TABLE artifacts (
	trial_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	path TEXT NOT NULL, 
	CONSTRAINT pk_artifacts PRIMARY KEY (trial_id, name), 
	CONSTRAINT fk_artifacts_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
CREATE TABLE audit_log (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	action VARCHAR(255) NOT NULL, 
	status INTEGER NOT NULL, 
	CONSTRAINT pk_audit_log PRIMARY KEY (id)
);
CREATE TABLE autotune_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT autotune_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "autotune_schema" VALUES('0006');
CREATE TABLE correctness (
	trial_id INTEGER NOT NULL, 
	split VARCHAR(16) NOT NULL, 
	num_labels INTEGER NOT NULL, 
	hits TEXT NOT NULL, 
	starts TEXT, 
	CONSTRAINT pk_correctness PRIMARY KEY (trial_id), 
	CONSTRAINT fk_correctness_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "correctness" VALUES(10,'abcd',8,'qg==',NULL);
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
INSERT INTO "curve_points" VALUES(1,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(1,1,13,13,100,1.25,1.5,'{"accuracy": 0.5, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(2,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(2,1,13,13,100,1.25,1.5,'{"accuracy": 0.51, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(3,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(3,1,13,13,100,1.25,1.5,'{"accuracy": 0.52, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(5,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(5,1,13,13,100,1.25,1.5,'{"accuracy": 0.54, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(6,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(6,1,13,13,100,1.25,1.5,'{"accuracy": 0.55, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(7,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(7,1,13,13,100,1.25,1.5,'{"accuracy": 0.56, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(8,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(8,1,13,13,100,1.25,1.5,'{"accuracy": 0.5700000000000001, "loss": 1.5}');
INSERT INTO "curve_points" VALUES(10,0,5,13,40,0.5,1.75,'{}');
INSERT INTO "curve_points" VALUES(10,1,13,13,100,1.25,1.5,'{"accuracy": 0.59, "loss": 1.5}');
CREATE TABLE deliveries (
	id INTEGER NOT NULL, 
	webhook_id INTEGER NOT NULL, 
	event VARCHAR(64) NOT NULL, 
	event_key VARCHAR(255) NOT NULL, 
	created_at DATETIME NOT NULL, 
	next_at DATETIME, 
	delivered_at DATETIME, 
	attempts INTEGER NOT NULL, 
	error TEXT, 
	payload JSON NOT NULL, 
	CONSTRAINT pk_deliveries PRIMARY KEY (id), 
	CONSTRAINT uq_deliveries_webhook_id_event_key UNIQUE (webhook_id, event_key), 
	CONSTRAINT fk_deliveries_webhook_id FOREIGN KEY(webhook_id) REFERENCES webhooks (id) ON DELETE CASCADE
);
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
INSERT INTO "environments" VALUES(1,1,'2026-11-26 15:01:56.501935','583e044e528941d6','145aa6f83c3252b204f825d44f55e8a785ffb178','{"fingerprint": "583e044e528941d6", "hardware": {"cpu": "Example CPU", "cores": [0, 1, 2, 3], "physical_cores": 2, "memory_gib": 31.5, "numa_nodes": [[0, 1, 2, 3]], "devices": [{"id": "cpu", "kind": "cpu", "name": "Example CPU", "memory_gib": 31.5, "capability": null, "bf16": true}, {"id": "cuda:0", "kind": "cuda", "name": "H100", "memory_gib": 79.1, "capability": [9, 0], "bf16": true}], "system": "Linux x86_64", "libc": "glibc 2.36", "cpu_flags": ["avx2"], "tools": ["c++"], "node_classes": [{"name": "node-big", "cores": 4, "gpus": 1}, {"name": "node-small", "cores": 2, "gpus": 0}], "num_nodes": 3}, "python": "3.11.7", "system": "Linux", "packages": {"autotune": "0.1.0", "torch": "2.13.0"}, "git_commit": "145aa6f83c3252b204f825d44f55e8a785ffb178"}');
CREATE TABLE events (
	trial_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	kind TEXT NOT NULL, 
	message TEXT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (trial_id, position), 
	CONSTRAINT fk_events_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES(1,0,'2026-03-01 12:00:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(1,1,'2026-03-01 12:00:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(1,2,'2026-03-01 12:00:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(1,3,'2026-03-01 12:00:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(1,4,'2026-03-01 12:00:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(1,5,'2026-03-01 12:00:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(1,6,'2026-03-01 12:00:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(1,7,'2026-03-01 12:00:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(1,8,'2026-03-01 12:00:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(1,9,'2026-03-01 12:00:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(1,10,'2026-03-01 12:00:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(1,11,'2026-03-01 12:00:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(1,12,'2026-03-01 12:00:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(1,13,'2026-03-01 12:00:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(1,14,'2026-03-01 12:00:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(2,0,'2026-03-01 12:01:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(2,1,'2026-03-01 12:01:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(2,2,'2026-03-01 12:01:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(2,3,'2026-03-01 12:01:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(2,4,'2026-03-01 12:01:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(2,5,'2026-03-01 12:01:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(2,6,'2026-03-01 12:01:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(2,7,'2026-03-01 12:01:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(2,8,'2026-03-01 12:01:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(2,9,'2026-03-01 12:01:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(2,10,'2026-03-01 12:01:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(2,11,'2026-03-01 12:01:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(2,12,'2026-03-01 12:01:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(2,13,'2026-03-01 12:01:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(2,14,'2026-03-01 12:01:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(3,0,'2026-03-01 12:02:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(3,1,'2026-03-01 12:02:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(3,2,'2026-03-01 12:02:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(3,3,'2026-03-01 12:02:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(3,4,'2026-03-01 12:02:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(3,5,'2026-03-01 12:02:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(3,6,'2026-03-01 12:02:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(3,7,'2026-03-01 12:02:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(3,8,'2026-03-01 12:02:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(3,9,'2026-03-01 12:02:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(3,10,'2026-03-01 12:02:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(3,11,'2026-03-01 12:02:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(3,12,'2026-03-01 12:02:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(3,13,'2026-03-01 12:02:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(3,14,'2026-03-01 12:02:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(3,15,'2026-03-01 12:00:00.000000','shared_host','speeds were measured with 2 other trials running on this host');
INSERT INTO "events" VALUES(4,0,'2026-03-01 12:03:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(4,1,'2026-03-01 12:03:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(4,2,'2026-03-01 12:03:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(4,3,'2026-03-01 12:03:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(4,4,'2026-03-01 12:03:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(4,5,'2026-03-01 12:03:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(4,6,'2026-03-01 12:03:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(4,7,'2026-03-01 12:03:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(4,8,'2026-03-01 12:03:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(5,0,'2026-03-01 12:04:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(5,1,'2026-03-01 12:04:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(5,2,'2026-03-01 12:04:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(5,3,'2026-03-01 12:04:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(5,4,'2026-03-01 12:04:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(5,5,'2026-03-01 12:04:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(5,6,'2026-03-01 12:04:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(5,7,'2026-03-01 12:04:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(5,8,'2026-03-01 12:04:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(5,9,'2026-03-01 12:04:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(5,10,'2026-03-01 12:04:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(5,11,'2026-03-01 12:04:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(5,12,'2026-03-01 12:04:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(5,13,'2026-03-01 12:04:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(5,14,'2026-03-01 12:04:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(6,0,'2026-03-01 12:05:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(6,1,'2026-03-01 12:05:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(6,2,'2026-03-01 12:05:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(6,3,'2026-03-01 12:05:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(6,4,'2026-03-01 12:05:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(6,5,'2026-03-01 12:05:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(6,6,'2026-03-01 12:05:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(6,7,'2026-03-01 12:05:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(6,8,'2026-03-01 12:05:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(6,9,'2026-03-01 12:05:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(6,10,'2026-03-01 12:05:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(6,11,'2026-03-01 12:05:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(6,12,'2026-03-01 12:05:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(6,13,'2026-03-01 12:05:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(6,14,'2026-03-01 12:05:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(7,0,'2026-03-01 12:00:00.000000','warm_start','from study earlier, trial 4');
INSERT INTO "events" VALUES(8,0,'2026-03-01 12:00:00.000000','warm_start','from study earlier, trial 5');
INSERT INTO "events" VALUES(9,0,'2026-03-01 12:08:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(9,1,'2026-03-01 12:08:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(9,2,'2026-03-01 12:08:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(9,3,'2026-03-01 12:08:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(9,4,'2026-03-01 12:08:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(9,5,'2026-03-01 12:08:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(9,6,'2026-03-01 12:08:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(10,0,'2026-03-01 12:09:00.000000','data','train: 100 of 1856 rows');
INSERT INTO "events" VALUES(10,1,'2026-03-01 12:09:00.000000','phase','1 devices begins');
INSERT INTO "events" VALUES(10,2,'2026-03-01 12:09:01.000000','phase','1 devices took 0.250 s');
INSERT INTO "events" VALUES(10,3,'2026-03-01 12:09:02.000000','phase','2 data begins');
INSERT INTO "events" VALUES(10,4,'2026-03-01 12:09:03.000000','phase','2 data took 0.500 s');
INSERT INTO "events" VALUES(10,5,'2026-03-01 12:09:04.000000','phase','3 setup begins');
INSERT INTO "events" VALUES(10,6,'2026-03-01 12:09:05.000000','phase','3 setup took 0.750 s');
INSERT INTO "events" VALUES(10,7,'2026-03-01 12:09:06.000000','phase','4 profile begins');
INSERT INTO "events" VALUES(10,8,'2026-03-01 12:09:07.000000','phase','4 profile took 1.000 s');
INSERT INTO "events" VALUES(10,9,'2026-03-01 12:09:08.000000','phase','5 train begins');
INSERT INTO "events" VALUES(10,10,'2026-03-01 12:09:09.000000','phase','5 train took 1.250 s');
INSERT INTO "events" VALUES(10,11,'2026-03-01 12:09:10.000000','phase','6 evaluate begins');
INSERT INTO "events" VALUES(10,12,'2026-03-01 12:09:11.000000','phase','6 evaluate took 1.500 s');
INSERT INTO "events" VALUES(10,13,'2026-03-01 12:09:12.000000','phase','7 record begins');
INSERT INTO "events" VALUES(10,14,'2026-03-01 12:09:13.000000','phase','7 record took 1.750 s');
INSERT INTO "events" VALUES(11,0,'2026-03-01 12:00:00.000000','data','4 probe took no phase');
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
INSERT INTO "measurements" VALUES(1,'train_samples_per_second',100.0,'samples/s',3,98.0,102.0,NULL,'[99.0, 100.0, 101.0]','[50.0]');
INSERT INTO "measurements" VALUES(1,'accuracy',0.5,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(1,'peak_memory_gib',0.75,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(1,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(1,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(2,'train_samples_per_second',101.0,'samples/s',3,99.0,103.0,NULL,'[100.0, 101.0, 102.0]','[50.0]');
INSERT INTO "measurements" VALUES(2,'accuracy',0.51,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(2,'peak_memory_gib',0.765625,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(2,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(2,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(3,'train_samples_per_second',102.0,'samples/s',3,100.0,104.0,NULL,'[101.0, 102.0, 103.0]','[50.0]');
INSERT INTO "measurements" VALUES(3,'accuracy',0.52,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(3,'peak_memory_gib',0.78125,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(3,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(3,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(5,'train_samples_per_second',104.0,'samples/s',3,102.0,106.0,NULL,'[103.0, 104.0, 105.0]','[50.0]');
INSERT INTO "measurements" VALUES(5,'accuracy',0.54,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(5,'peak_memory_gib',0.8125,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(5,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(5,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(6,'train_samples_per_second',105.0,'samples/s',3,103.0,107.0,NULL,'[104.0, 105.0, 106.0]','[50.0]');
INSERT INTO "measurements" VALUES(6,'accuracy',0.55,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(6,'peak_memory_gib',0.828125,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(6,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(6,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(7,'train_samples_per_second',106.0,'samples/s',3,104.0,108.0,NULL,'[105.0, 106.0, 107.0]','[50.0]');
INSERT INTO "measurements" VALUES(7,'accuracy',0.56,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(7,'peak_memory_gib',0.84375,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(7,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(7,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(8,'train_samples_per_second',107.0,'samples/s',3,105.0,109.0,NULL,'[106.0, 107.0, 108.0]','[50.0]');
INSERT INTO "measurements" VALUES(8,'accuracy',5.70000000000000062172e-01,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(8,'peak_memory_gib',0.859375,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(8,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(8,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(10,'train_samples_per_second',109.0,'samples/s',3,107.0,111.0,NULL,'[108.0, 109.0, 110.0]','[50.0]');
INSERT INTO "measurements" VALUES(10,'accuracy',0.59,'',50,0.4,0.7,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(10,'peak_memory_gib',0.890625,'GiB',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(10,'train_seconds',12.0,'s',1,NULL,NULL,NULL,'[]','[]');
INSERT INTO "measurements" VALUES(10,'cost_usd',0.0001,'USD',1,NULL,NULL,NULL,'[]','[]');
CREATE TABLE memory_timelines (
	trial_id INTEGER NOT NULL, 
	points JSON NOT NULL, 
	CONSTRAINT pk_memory_timelines PRIMARY KEY (trial_id), 
	CONSTRAINT fk_memory_timelines_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
INSERT INTO "memory_timelines" VALUES(1,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(2,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(3,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(5,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(6,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(7,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(8,'[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO "memory_timelines" VALUES(10,'[[0.0, 0.25], [1.0, 0.75]]');
CREATE TABLE models (
	trial_id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (trial_id), 
	CONSTRAINT fk_models_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);
CREATE TABLE "studies" (
	id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	fingerprint VARCHAR(16) NOT NULL, 
	created_at DATETIME NOT NULL, 
	study JSON NOT NULL, 
	spec JSON NOT NULL, 
	changed_at DATETIME NOT NULL, 
	revision BIGINT NOT NULL, 
	CONSTRAINT pk_studies PRIMARY KEY (id), 
	CONSTRAINT uq_studies_name UNIQUE (name)
);
INSERT INTO "studies" VALUES(1,'words','e93b27d093f622c4','2026-11-26 15:01:56.454074','{"name": "words", "task": {"kind": "text-classification", "model": "builtin:bert-tiny", "dataset": "builtin:docstrings", "columns": {"text": "text", "text_pair": null, "label": "label"}, "epochs": 1.0, "steps": null, "max_length": 128, "seed": 0, "train_samples": 100, "validation_samples": 50}, "objectives": [{"metric": "train_samples_per_second", "direction": "maximize"}, {"metric": "accuracy", "direction": "maximize"}], "space": {"dimensions": [{"lever": "batch_size", "domain": {"values": [8, 16, 32]}, "when": null}, {"lever": "precision", "domain": {"values": ["fp32", "bf16"]}, "when": null}, {"lever": "learning_rate", "domain": {"low": 1e-05, "high": 0.001, "step": null, "log": true, "integer": false}, "when": null}], "defaults": {"batch_size": 8, "precision": "fp32", "threads": 1, "learning_rate": 5e-05}, "rules": [{"excludes": "precision == bf16 and batch_size == 8", "reason": "made up"}]}, "constraints": [{"metric": "accuracy", "operator": ">=", "bound": -0.05, "relative": true}], "budget": {"trials": 24, "minutes": 10.0, "usd": null, "patience": 6}, "limits": {"memory_gib": null, "minutes": 4.0}, "prices": {"cpu_core": 0.04, "gpus": {}, "nodes": {}}, "executor": {"kind": "local", "workers": 1, "address": null, "takeover_seconds": 60.0, "landscape": null}, "sampler": {"kind": "factored", "seed": 0}, "start_with": [{"values": {"batch_size": 16, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}}], "sharing": true, "stopping": "optimistic", "confirm": {"top": 2, "seeds": 1}, "warm_start": "earlier", "spec": {}}','{"study": "words", "budget": {"trials": 24, "minutes": 10.0, "without_gain": 6}, "warm_start": "earlier"}','2026-11-26 15:01:56.574664',23);
CREATE TABLE submissions (
	id INTEGER NOT NULL, 
	study VARCHAR(255) NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	priority INTEGER NOT NULL, 
	minutes DOUBLE, 
	used_minutes DOUBLE NOT NULL, 
	submitted_at DATETIME NOT NULL, 
	started_at DATETIME, 
	ended_at DATETIME, 
	driver VARCHAR(255), 
	lease_until DATETIME, 
	stop_requested BOOLEAN NOT NULL, 
	attempts INTEGER NOT NULL, 
	revision BIGINT NOT NULL, 
	reason TEXT, 
	settings JSON NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_submissions PRIMARY KEY (id), 
	CONSTRAINT uq_submissions_study UNIQUE (study)
);
CREATE TABLE "trials" (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	strategy_key VARCHAR(16) NOT NULL, 
	seed BIGINT NOT NULL, 
	origin VARCHAR(32) NOT NULL, 
	failure VARCHAR(32), 
	started_at DATETIME, 
	finished_at DATETIME, 
	reason TEXT, 
	strategy JSON NOT NULL, 
	environment JSON NOT NULL, 
	log TEXT, 
	heartbeat_at DATETIME, 
	driver VARCHAR(255), 
	revision BIGINT NOT NULL, 
	CONSTRAINT pk_trials PRIMARY KEY (id), 
	CONSTRAINT fk_trials_study_id FOREIGN KEY(study_id) REFERENCES studies (id) ON DELETE CASCADE, 
	CONSTRAINT uq_trials_study_id_number UNIQUE (study_id, number)
);
INSERT INTO "trials" VALUES(1,1,0,'complete','05f51ad398420a8f',0,'baseline',NULL,'2026-11-26 15:01:56.506418','2026-11-26 15:01:56.512096',NULL,'{"batch_size": 8, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}','train
','2026-11-26 15:01:56.506418','vm:22504:cd3579c5',2);
INSERT INTO "trials" VALUES(2,1,1,'complete','0f0c0bffbda54191',0,'start_with',NULL,'2026-11-26 15:01:56.518992','2026-11-26 15:01:56.521528',NULL,'{"batch_size": 16, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}','train
','2026-11-26 15:01:56.518992','vm:22504:cd3579c5',4);
INSERT INTO "trials" VALUES(3,1,2,'complete','870efb8be460f839',0,'sampler',NULL,'2026-11-26 15:01:56.524558','2026-11-26 15:01:56.527308',NULL,'{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "other_trials_on_host": 2}','train
','2026-11-26 15:01:56.524558','vm:22504:cd3579c5',6);
INSERT INTO "trials" VALUES(4,1,3,'interrupted','26080fe5a1729175',0,'sampler',NULL,'2026-11-26 15:01:56.532167','2026-11-26 15:01:56.534600','the driver ended','{"batch_size": 32, "learning_rate": 0.0004, "precision": "fp32", "threads": 1}','{}',NULL,'2026-11-26 15:01:56.532167','vm:22504:cd3579c5',8);
INSERT INTO "trials" VALUES(5,1,4,'pruned','26080fe5a1729175',0,'rerun',NULL,'2026-11-26 15:01:56.537728','2026-11-26 15:01:56.540064','stays dominated','{"batch_size": 32, "learning_rate": 0.0004, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}','train
','2026-11-26 15:01:56.537728','vm:22504:cd3579c5',10);
INSERT INTO "trials" VALUES(6,1,5,'complete','870efb8be460f839',0,'isolated',NULL,'2026-11-26 15:01:56.543071','2026-11-26 15:01:56.546043',NULL,'{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}','train
','2026-11-26 15:01:56.543071','vm:22504:cd3579c5',12);
INSERT INTO "trials" VALUES(7,1,6,'complete','4ed279e5f9d1b4b9',0,'imported',NULL,'2026-11-26 15:01:56.549142','2026-11-26 15:01:56.551911',NULL,'{"batch_size": 16, "learning_rate": 0.0002, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "warm_start": {"study": "earlier", "trial": 4}}','train
','2026-11-26 15:01:56.549142','vm:22504:cd3579c5',14);
INSERT INTO "trials" VALUES(8,1,7,'complete','a7f092858d7bd57c',0,'transferred',NULL,'2026-11-26 15:01:56.555169','2026-11-26 15:01:56.557539',NULL,'{"batch_size": 16, "learning_rate": 5e-05, "precision": "bf16", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "warm_start": {"study": "earlier", "trial": 5}}','train
','2026-11-26 15:01:56.555169','vm:22504:cd3579c5',16);
INSERT INTO "trials" VALUES(9,1,8,'infeasible','892aa4acbbf8ffb9',0,'sampler','out_of_memory','2026-11-26 15:01:56.560388','2026-11-26 15:01:56.562830','4.2 GiB over the limit','{"batch_size": 32, "learning_rate": 5e-05, "precision": "bf16", "threads": 1}','{}',NULL,'2026-11-26 15:01:56.560388','vm:22504:cd3579c5',18);
INSERT INTO "trials" VALUES(10,1,9,'complete','870efb8be460f839',1,'confirm',NULL,'2026-11-26 15:01:56.565189','2026-11-26 15:01:56.567457',NULL,'{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}','{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "predicted": {"peak_memory_gib": 0.9}}','train
','2026-11-26 15:01:56.565189','vm:22504:cd3579c5',20);
INSERT INTO "trials" VALUES(11,1,10,'failed','a564bedc9ed2f0df',0,'sampler','error','2026-11-26 15:01:56.570280','2026-11-26 15:01:56.572564','ValueError: 4 probe took too long','{"batch_size": 16, "learning_rate": 0.0009, "precision": "fp32", "threads": 1}','{}',NULL,'2026-11-26 15:01:56.570280','vm:22504:cd3579c5',22);
INSERT INTO "trials" VALUES(12,1,11,'queued','ad88c486da27075d',0,'rerun',NULL,NULL,NULL,NULL,'{"batch_size": 16, "learning_rate": 0.0001, "precision": "fp32", "threads": 1}','{}',NULL,NULL,NULL,23);
CREATE TABLE webhooks (
	id INTEGER NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	url TEXT NOT NULL, 
	secret TEXT NOT NULL, 
	events JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_webhooks PRIMARY KEY (id)
);
CREATE INDEX ix_environments_study_id ON environments (study_id);
CREATE INDEX ix_trials_study_id_strategy_key ON trials (study_id, strategy_key);
CREATE INDEX ix_trials_study_id_state ON trials (study_id, state);
CREATE INDEX ix_trials_study_id_revision ON trials (study_id, revision);
CREATE INDEX ix_submissions_state ON submissions (state);
CREATE INDEX ix_submissions_owner ON submissions (owner);
CREATE INDEX ix_webhooks_owner ON webhooks (owner);
CREATE INDEX ix_deliveries_next_at ON deliveries (next_at);
COMMIT;
