CREATE TABLE public.artifacts (
    trial_id integer NOT NULL,
    name character varying(255) NOT NULL,
    path text NOT NULL
);
CREATE TABLE public.autotune_schema (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.curve_points (
    trial_id integer NOT NULL,
    "position" integer NOT NULL,
    step integer NOT NULL,
    total_steps integer NOT NULL,
    samples bigint NOT NULL,
    seconds double precision NOT NULL,
    loss double precision,
    metrics json NOT NULL
);
CREATE TABLE public.environments (
    id integer NOT NULL,
    study_id integer NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    fingerprint character varying(64),
    git_commit character varying(64),
    document json NOT NULL
);
CREATE SEQUENCE public.environments_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.environments_id_seq OWNED BY public.environments.id;
CREATE TABLE public.events (
    trial_id integer NOT NULL,
    "position" integer NOT NULL,
    at timestamp with time zone NOT NULL,
    kind text NOT NULL,
    message text NOT NULL
);
CREATE TABLE public.measurements (
    trial_id integer NOT NULL,
    name character varying(255) NOT NULL,
    value double precision NOT NULL,
    unit character varying(32) NOT NULL,
    n bigint NOT NULL,
    ci_low double precision,
    ci_high double precision,
    source integer,
    samples json NOT NULL,
    warmup json NOT NULL
);
CREATE TABLE public.memory_timelines (
    trial_id integer NOT NULL,
    points json NOT NULL
);
CREATE TABLE public.studies (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    fingerprint character varying(16) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    study json NOT NULL,
    spec json NOT NULL
);
CREATE SEQUENCE public.studies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_id_seq OWNED BY public.studies.id;
CREATE TABLE public.trials (
    id integer NOT NULL,
    study_id integer NOT NULL,
    number integer NOT NULL,
    state character varying(16) NOT NULL,
    strategy_key character varying(16) NOT NULL,
    seed bigint NOT NULL,
    origin character varying(32) NOT NULL,
    kind character varying(32),
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    reason text,
    strategy json NOT NULL,
    environment json NOT NULL,
    log text
);
CREATE SEQUENCE public.trials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_id_seq OWNED BY public.trials.id;
ALTER TABLE ONLY public.environments ALTER COLUMN id SET DEFAULT nextval('public.environments_id_seq'::regclass);
ALTER TABLE ONLY public.studies ALTER COLUMN id SET DEFAULT nextval('public.studies_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN id SET DEFAULT nextval('public.trials_id_seq'::regclass);
INSERT INTO public.artifacts VALUES (1, 'model', 'trials/0/model.safetensors');
INSERT INTO public.autotune_schema VALUES ('0001');
INSERT INTO public.curve_points VALUES (1, 0, 10, 20, 80, 1.5, 2.25, '{}');
INSERT INTO public.curve_points VALUES (1, 1, 20, 20, 160, 3, 'Infinity', '{"accuracy": 0.25}');
INSERT INTO public.environments VALUES (1, 1, '2026-02-01 10:00:00+00', 'f00d', 'c0ffee', '{"fingerprint": "f00d", "git_commit": "c0ffee", "versions": {"torch": "2.13"}}');
INSERT INTO public.events VALUES (1, 0, '2026-03-01 12:30:01.00025+00', 'phase', 'training');
INSERT INTO public.measurements VALUES (1, 'speed', 201.5, '1/s', 9, 199.25, 203.75, NULL, '[200.0, 200.33333333333334, 200.66666666666666, 201.0, 201.33333333333334, 201.66666666666666, 202.0, 202.33333333333334, 202.66666666666666]', '[5.0, 6.0]');
INSERT INTO public.measurements VALUES (1, 'accuracy', 0.3333333333333333, '', 400, 0.3, 0.4, 0, '[]', '[]');
INSERT INTO public.measurements VALUES (1, 'cost_usd', 1e-07, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.memory_timelines VALUES (1, '[[0.0, 0.5], [1.0, 0.75]]');
INSERT INTO public.studies VALUES (1, 'old', 'ed01263c2f48ce7f', '2026-02-01 10:00:00+00', '{"name": "old", "task": {"kind": "text-classification", "model": "builtin:minilm", "dataset": {"train": "a.jsonl", "validation": "b.jsonl"}, "columns": {"text": "text", "text_pair": "other", "label": "label"}, "epochs": 1.0, "steps": 20, "max_length": 128, "seed": 0, "train_samples": null, "validation_samples": null}, "objectives": [{"metric": "accuracy", "direction": "maximize"}, {"metric": "cost_usd", "direction": "minimize"}], "space": {"dimensions": [{"lever": "mixed", "domain": {"values": [true, 1, 1.0, "1", false, 0, 0.0, "0"]}, "when": null}, {"lever": "learning_rate", "domain": {"low": 1e-05, "high": 0.001, "step": null, "log": true, "integer": false}, "when": null}, {"lever": "batch_size", "domain": {"low": 8.0, "high": 64.0, "step": 8.0, "log": false, "integer": true}, "when": "mixed == 1"}], "defaults": {"mixed": true, "learning_rate": 5e-05, "batch_size": 8}, "rules": [{"excludes": "batch_size > 32", "reason": "too large"}]}, "constraints": [{"metric": "accuracy", "operator": ">=", "bound": -0.01, "relative": true}], "budget": {"trials": 24, "minutes": 10.0, "usd": null}, "limits": {"memory_gib": 8.0, "minutes": null}, "prices": {"cpu_core": 0.04, "gpus": {"H200": 4.0}}, "executor": {"kind": "local", "workers": 2, "address": null}, "sampler": {"kind": "nsga2", "seed": 7}, "start_with": [{"values": {"batch_size": 11, "fused": true, "name": "1", "rate": 1.0, "zero": 0}}, {"values": {"batch_size": 12, "fused": true, "name": "1", "rate": 1.0, "zero": 0}}], "spec": {}}', '{"study": "old", "space": {"batch_size": [8, 16], "note": "\u00e9\u4e16"}, "none": null}');
INSERT INTO public.trials VALUES (1, 1, 0, 'complete', 'b25519399f38a51f', 0, 'baseline', NULL, '2026-02-01 10:00:00+00', '2026-02-01 10:05:00.5+00', NULL, '{"batch_size": 8, "fused": true, "name": "1", "rate": 1.0, "zero": 0}', '{"threads": 2, "nested": {"list": [1, 2.0, true, null]}}', 'trials/0/log.txt');
INSERT INTO public.trials VALUES (2, 1, 1, 'infeasible', 'e7b24d8287063f5d', 0, 'sampler', 'out_of_memory', '2026-02-01 10:01:00+00', '2026-02-01 10:06:00+00', '9 GiB', '{"batch_size": 9, "fused": true, "name": "1", "rate": 1.0, "zero": 0}', '{}', NULL);
INSERT INTO public.trials VALUES (3, 1, 2, 'running', 'ce474a2ce62c369c', 0, 'sampler', NULL, '2026-02-01 10:02:00+00', NULL, NULL, '{"batch_size": 10, "fused": true, "name": "1", "rate": 1.0, "zero": 0}', '{}', NULL);
INSERT INTO public.trials VALUES (4, 1, 3, 'queued', 'abb9b01c0fe7ee20', 0, 'sampler', NULL, NULL, NULL, NULL, '{"batch_size": 11, "fused": true, "name": "1", "rate": 1.0, "zero": 0}', '{}', NULL);
SELECT pg_catalog.setval('public.environments_id_seq', 1, true);
SELECT pg_catalog.setval('public.studies_id_seq', 1, true);
SELECT pg_catalog.setval('public.trials_id_seq', 4, true);
ALTER TABLE ONLY public.autotune_schema
    ADD CONSTRAINT autotune_schema_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT pk_artifacts PRIMARY KEY (trial_id, name);
ALTER TABLE ONLY public.curve_points
    ADD CONSTRAINT pk_curve_points PRIMARY KEY (trial_id, "position");
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT pk_environments PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (trial_id, "position");
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT pk_measurements PRIMARY KEY (trial_id, name);
ALTER TABLE ONLY public.memory_timelines
    ADD CONSTRAINT pk_memory_timelines PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT pk_studies PRIMARY KEY (id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT pk_trials PRIMARY KEY (id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT uq_studies_name UNIQUE (name);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT uq_trials_study_id_number UNIQUE (study_id, number);
CREATE INDEX ix_environments_study_id ON public.environments USING btree (study_id);
CREATE INDEX ix_trials_study_id_state ON public.trials USING btree (study_id, state);
CREATE INDEX ix_trials_study_id_strategy_key ON public.trials USING btree (study_id, strategy_key);
ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT fk_artifacts_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.curve_points
    ADD CONSTRAINT fk_curve_points_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT fk_environments_study_id FOREIGN KEY (study_id) REFERENCES public.studies(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT fk_measurements_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.memory_timelines
    ADD CONSTRAINT fk_memory_timelines_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT fk_trials_study_id FOREIGN KEY (study_id) REFERENCES public.studies(id) ON DELETE CASCADE;
