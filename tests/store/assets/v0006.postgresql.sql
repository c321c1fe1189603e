CREATE TABLE public.access_tokens (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    role character varying(16) NOT NULL,
    digest character varying(64) NOT NULL,
    minutes double precision,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone
);
CREATE SEQUENCE public.access_tokens_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.access_tokens_id_seq OWNED BY public.access_tokens.id;
CREATE TABLE public.artifacts (
    trial_id integer NOT NULL,
    name character varying(255) NOT NULL,
    path text NOT NULL
);
CREATE TABLE public.audit_log (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    actor character varying(64) NOT NULL,
    address character varying(64) NOT NULL,
    action character varying(255) NOT NULL,
    status integer NOT NULL
);
CREATE SEQUENCE public.audit_log_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_log_id_seq OWNED BY public.audit_log.id;
CREATE TABLE public.autotune_schema (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.correctness (
    trial_id integer NOT NULL,
    split character varying(16) NOT NULL,
    num_labels integer NOT NULL,
    hits text NOT NULL,
    starts text
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
CREATE TABLE public.deliveries (
    id integer NOT NULL,
    webhook_id integer NOT NULL,
    event character varying(64) NOT NULL,
    event_key character varying(255) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    next_at timestamp with time zone,
    delivered_at timestamp with time zone,
    attempts integer NOT NULL,
    error text,
    payload json NOT NULL
);
CREATE SEQUENCE public.deliveries_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_id_seq OWNED BY public.deliveries.id;
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
CREATE TABLE public.models (
    trial_id integer NOT NULL,
    digest character varying(64) NOT NULL,
    size_bytes bigint NOT NULL
);
CREATE TABLE public.studies (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    fingerprint character varying(16) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    study json NOT NULL,
    spec json NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    revision bigint NOT NULL
);
CREATE SEQUENCE public.studies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_id_seq OWNED BY public.studies.id;
CREATE TABLE public.submissions (
    id integer NOT NULL,
    study character varying(255) NOT NULL,
    owner character varying(64) NOT NULL,
    state character varying(16) NOT NULL,
    priority integer NOT NULL,
    minutes double precision,
    used_minutes double precision NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    driver character varying(255),
    lease_until timestamp with time zone,
    stop_requested boolean NOT NULL,
    attempts integer NOT NULL,
    revision bigint NOT NULL,
    reason text,
    settings json NOT NULL,
    text text NOT NULL
);
CREATE SEQUENCE public.submissions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.submissions_id_seq OWNED BY public.submissions.id;
CREATE TABLE public.trials (
    id integer NOT NULL,
    study_id integer NOT NULL,
    number integer NOT NULL,
    state character varying(16) NOT NULL,
    strategy_key character varying(16) NOT NULL,
    seed bigint NOT NULL,
    origin character varying(32) NOT NULL,
    failure character varying(32),
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    reason text,
    strategy json NOT NULL,
    environment json NOT NULL,
    log text,
    heartbeat_at timestamp with time zone,
    driver character varying(255),
    revision bigint NOT NULL
);
CREATE SEQUENCE public.trials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_id_seq OWNED BY public.trials.id;
CREATE TABLE public.webhooks (
    id integer NOT NULL,
    owner character varying(64) NOT NULL,
    url text NOT NULL,
    secret text NOT NULL,
    events json NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.webhooks_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.webhooks_id_seq OWNED BY public.webhooks.id;
ALTER TABLE ONLY public.access_tokens ALTER COLUMN id SET DEFAULT nextval('public.access_tokens_id_seq'::regclass);
ALTER TABLE ONLY public.audit_log ALTER COLUMN id SET DEFAULT nextval('public.audit_log_id_seq'::regclass);
ALTER TABLE ONLY public.deliveries ALTER COLUMN id SET DEFAULT nextval('public.deliveries_id_seq'::regclass);
ALTER TABLE ONLY public.environments ALTER COLUMN id SET DEFAULT nextval('public.environments_id_seq'::regclass);
ALTER TABLE ONLY public.studies ALTER COLUMN id SET DEFAULT nextval('public.studies_id_seq'::regclass);
ALTER TABLE ONLY public.submissions ALTER COLUMN id SET DEFAULT nextval('public.submissions_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN id SET DEFAULT nextval('public.trials_id_seq'::regclass);
ALTER TABLE ONLY public.webhooks ALTER COLUMN id SET DEFAULT nextval('public.webhooks_id_seq'::regclass);
INSERT INTO public.autotune_schema VALUES ('0006');
INSERT INTO public.correctness VALUES (10, 'abcd', 8, 'qg==', NULL);
INSERT INTO public.curve_points VALUES (1, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (1, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.5, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (2, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (2, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.51, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (3, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (3, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.52, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (5, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (5, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.54, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (6, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (6, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.55, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (7, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (7, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.56, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (8, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (8, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.5700000000000001, "loss": 1.5}');
INSERT INTO public.curve_points VALUES (10, 0, 5, 13, 40, 0.5, 1.75, '{}');
INSERT INTO public.curve_points VALUES (10, 1, 13, 13, 100, 1.25, 1.5, '{"accuracy": 0.59, "loss": 1.5}');
INSERT INTO public.environments VALUES (1, 1, '2026-11-26 15:02:19.731221+00', '583e044e528941d6', '145aa6f83c3252b204f825d44f55e8a785ffb178', '{"fingerprint": "583e044e528941d6", "hardware": {"cpu": "Example CPU", "cores": [0, 1, 2, 3], "physical_cores": 2, "memory_gib": 31.5, "numa_nodes": [[0, 1, 2, 3]], "devices": [{"id": "cpu", "kind": "cpu", "name": "Example CPU", "memory_gib": 31.5, "capability": null, "bf16": true}, {"id": "cuda:0", "kind": "cuda", "name": "H100", "memory_gib": 79.1, "capability": [9, 0], "bf16": true}], "system": "Linux x86_64", "libc": "glibc 2.36", "cpu_flags": ["avx2"], "tools": ["c++"], "node_classes": [{"name": "node-big", "cores": 4, "gpus": 1}, {"name": "node-small", "cores": 2, "gpus": 0}], "num_nodes": 3}, "python": "3.11.7", "system": "Linux", "packages": {"autotune": "0.1.0", "torch": "2.13.0"}, "git_commit": "145aa6f83c3252b204f825d44f55e8a785ffb178"}');
INSERT INTO public.events VALUES (1, 0, '2026-03-01 12:00:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (1, 3, '2026-03-01 12:00:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (1, 4, '2026-03-01 12:00:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (1, 9, '2026-03-01 12:00:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (1, 10, '2026-03-01 12:00:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (1, 11, '2026-03-01 12:00:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (1, 12, '2026-03-01 12:00:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (2, 0, '2026-03-01 12:01:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (2, 3, '2026-03-01 12:01:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (2, 4, '2026-03-01 12:01:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (2, 9, '2026-03-01 12:01:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (2, 10, '2026-03-01 12:01:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (2, 11, '2026-03-01 12:01:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (2, 12, '2026-03-01 12:01:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (3, 0, '2026-03-01 12:02:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (3, 3, '2026-03-01 12:02:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (3, 4, '2026-03-01 12:02:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (3, 9, '2026-03-01 12:02:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (3, 10, '2026-03-01 12:02:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (3, 11, '2026-03-01 12:02:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (3, 12, '2026-03-01 12:02:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (3, 15, '2026-03-01 12:00:00+00', 'shared_host', 'speeds were measured with 2 other trials running on this host');
INSERT INTO public.events VALUES (4, 0, '2026-03-01 12:03:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (4, 3, '2026-03-01 12:03:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (4, 4, '2026-03-01 12:03:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (5, 0, '2026-03-01 12:04:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (5, 3, '2026-03-01 12:04:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (5, 4, '2026-03-01 12:04:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (5, 9, '2026-03-01 12:04:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (5, 10, '2026-03-01 12:04:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (5, 11, '2026-03-01 12:04:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (5, 12, '2026-03-01 12:04:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (6, 0, '2026-03-01 12:05:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (6, 3, '2026-03-01 12:05:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (6, 4, '2026-03-01 12:05:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (6, 9, '2026-03-01 12:05:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (6, 10, '2026-03-01 12:05:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (6, 11, '2026-03-01 12:05:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (6, 12, '2026-03-01 12:05:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (7, 0, '2026-03-01 12:00:00+00', 'warm_start', 'from study earlier, trial 4');
INSERT INTO public.events VALUES (8, 0, '2026-03-01 12:00:00+00', 'warm_start', 'from study earlier, trial 5');
INSERT INTO public.events VALUES (9, 0, '2026-03-01 12:08:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (9, 3, '2026-03-01 12:08:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (9, 4, '2026-03-01 12:08:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (10, 0, '2026-03-01 12:09:00+00', 'data', 'train: 100 of 1856 rows');
INSERT INTO public.events VALUES (10, 3, '2026-03-01 12:09:02+00', 'phase', '2 data begins');
INSERT INTO public.events VALUES (10, 4, '2026-03-01 12:09:03+00', 'phase', '2 data took 0.500 s');
INSERT INTO public.events VALUES (10, 9, '2026-03-01 12:09:08+00', 'phase', '5 train begins');
INSERT INTO public.events VALUES (10, 10, '2026-03-01 12:09:09+00', 'phase', '5 train took 1.250 s');
INSERT INTO public.events VALUES (10, 11, '2026-03-01 12:09:10+00', 'phase', '6 evaluate begins');
INSERT INTO public.events VALUES (10, 12, '2026-03-01 12:09:11+00', 'phase', '6 evaluate took 1.500 s');
INSERT INTO public.events VALUES (11, 0, '2026-03-01 12:00:00+00', 'data', '4 probe took no phase');
INSERT INTO public.events VALUES (1, 1, '2026-03-01 12:00:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (1, 5, '2026-03-01 12:00:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (1, 2, '2026-03-01 12:00:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (1, 6, '2026-03-01 12:00:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (1, 7, '2026-03-01 12:00:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (1, 8, '2026-03-01 12:00:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (1, 13, '2026-03-01 12:00:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (1, 14, '2026-03-01 12:00:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.events VALUES (2, 1, '2026-03-01 12:01:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (2, 2, '2026-03-01 12:01:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (2, 5, '2026-03-01 12:01:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (2, 6, '2026-03-01 12:01:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (2, 7, '2026-03-01 12:01:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (2, 8, '2026-03-01 12:01:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (2, 13, '2026-03-01 12:01:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (2, 14, '2026-03-01 12:01:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.events VALUES (3, 1, '2026-03-01 12:02:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (3, 2, '2026-03-01 12:02:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (3, 5, '2026-03-01 12:02:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (3, 6, '2026-03-01 12:02:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (3, 7, '2026-03-01 12:02:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (3, 8, '2026-03-01 12:02:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (3, 13, '2026-03-01 12:02:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (3, 14, '2026-03-01 12:02:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.events VALUES (4, 1, '2026-03-01 12:03:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (4, 2, '2026-03-01 12:03:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (4, 5, '2026-03-01 12:03:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (4, 6, '2026-03-01 12:03:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (4, 7, '2026-03-01 12:03:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (4, 8, '2026-03-01 12:03:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (5, 1, '2026-03-01 12:04:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (5, 2, '2026-03-01 12:04:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (5, 5, '2026-03-01 12:04:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (5, 6, '2026-03-01 12:04:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (5, 7, '2026-03-01 12:04:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (5, 8, '2026-03-01 12:04:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (5, 13, '2026-03-01 12:04:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (5, 14, '2026-03-01 12:04:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.events VALUES (6, 1, '2026-03-01 12:05:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (6, 2, '2026-03-01 12:05:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (6, 5, '2026-03-01 12:05:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (6, 6, '2026-03-01 12:05:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (6, 7, '2026-03-01 12:05:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (6, 8, '2026-03-01 12:05:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (6, 13, '2026-03-01 12:05:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (6, 14, '2026-03-01 12:05:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.events VALUES (9, 1, '2026-03-01 12:08:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (9, 2, '2026-03-01 12:08:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (9, 5, '2026-03-01 12:08:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (9, 6, '2026-03-01 12:08:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (10, 1, '2026-03-01 12:09:00+00', 'phase', '1 devices begins');
INSERT INTO public.events VALUES (10, 2, '2026-03-01 12:09:01+00', 'phase', '1 devices took 0.250 s');
INSERT INTO public.events VALUES (10, 5, '2026-03-01 12:09:04+00', 'phase', '3 setup begins');
INSERT INTO public.events VALUES (10, 6, '2026-03-01 12:09:05+00', 'phase', '3 setup took 0.750 s');
INSERT INTO public.events VALUES (10, 7, '2026-03-01 12:09:06+00', 'phase', '4 profile begins');
INSERT INTO public.events VALUES (10, 8, '2026-03-01 12:09:07+00', 'phase', '4 profile took 1.000 s');
INSERT INTO public.events VALUES (10, 13, '2026-03-01 12:09:12+00', 'phase', '7 record begins');
INSERT INTO public.events VALUES (10, 14, '2026-03-01 12:09:13+00', 'phase', '7 record took 1.750 s');
INSERT INTO public.measurements VALUES (1, 'train_samples_per_second', 100, 'samples/s', 3, 98, 102, NULL, '[99.0, 100.0, 101.0]', '[50.0]');
INSERT INTO public.measurements VALUES (1, 'accuracy', 0.5, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (1, 'peak_memory_gib', 0.75, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (1, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (1, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (2, 'train_samples_per_second', 101, 'samples/s', 3, 99, 103, NULL, '[100.0, 101.0, 102.0]', '[50.0]');
INSERT INTO public.measurements VALUES (2, 'accuracy', 0.51, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (2, 'peak_memory_gib', 0.765625, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (2, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (2, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (3, 'train_samples_per_second', 102, 'samples/s', 3, 100, 104, NULL, '[101.0, 102.0, 103.0]', '[50.0]');
INSERT INTO public.measurements VALUES (3, 'accuracy', 0.52, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (3, 'peak_memory_gib', 0.78125, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (3, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (3, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (5, 'train_samples_per_second', 104, 'samples/s', 3, 102, 106, NULL, '[103.0, 104.0, 105.0]', '[50.0]');
INSERT INTO public.measurements VALUES (5, 'accuracy', 0.54, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (5, 'peak_memory_gib', 0.8125, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (5, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (5, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (6, 'train_samples_per_second', 105, 'samples/s', 3, 103, 107, NULL, '[104.0, 105.0, 106.0]', '[50.0]');
INSERT INTO public.measurements VALUES (6, 'accuracy', 0.55, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (6, 'peak_memory_gib', 0.828125, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (6, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (6, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (7, 'train_samples_per_second', 106, 'samples/s', 3, 104, 108, NULL, '[105.0, 106.0, 107.0]', '[50.0]');
INSERT INTO public.measurements VALUES (7, 'accuracy', 0.56, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (7, 'peak_memory_gib', 0.84375, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (7, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (7, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (8, 'train_samples_per_second', 107, 'samples/s', 3, 105, 109, NULL, '[106.0, 107.0, 108.0]', '[50.0]');
INSERT INTO public.measurements VALUES (8, 'accuracy', 0.5700000000000001, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (8, 'peak_memory_gib', 0.859375, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (8, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (8, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (10, 'train_samples_per_second', 109, 'samples/s', 3, 107, 111, NULL, '[108.0, 109.0, 110.0]', '[50.0]');
INSERT INTO public.measurements VALUES (10, 'accuracy', 0.59, '', 50, 0.4, 0.7, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (10, 'peak_memory_gib', 0.890625, 'GiB', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (10, 'train_seconds', 12, 's', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.measurements VALUES (10, 'cost_usd', 0.0001, 'USD', 1, NULL, NULL, NULL, '[]', '[]');
INSERT INTO public.memory_timelines VALUES (1, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (2, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (3, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (5, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (6, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (7, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (8, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.memory_timelines VALUES (10, '[[0.0, 0.25], [1.0, 0.75]]');
INSERT INTO public.studies VALUES (1, 'words', 'e93b27d093f622c4', '2026-11-26 15:02:19.68015+00', '{"name": "words", "task": {"kind": "text-classification", "model": "builtin:bert-tiny", "dataset": "builtin:docstrings", "columns": {"text": "text", "text_pair": null, "label": "label"}, "epochs": 1.0, "steps": null, "max_length": 128, "seed": 0, "train_samples": 100, "validation_samples": 50}, "objectives": [{"metric": "train_samples_per_second", "direction": "maximize"}, {"metric": "accuracy", "direction": "maximize"}], "space": {"dimensions": [{"lever": "batch_size", "domain": {"values": [8, 16, 32]}, "when": null}, {"lever": "precision", "domain": {"values": ["fp32", "bf16"]}, "when": null}, {"lever": "learning_rate", "domain": {"low": 1e-05, "high": 0.001, "step": null, "log": true, "integer": false}, "when": null}], "defaults": {"batch_size": 8, "precision": "fp32", "threads": 1, "learning_rate": 5e-05}, "rules": [{"excludes": "precision == bf16 and batch_size == 8", "reason": "made up"}]}, "constraints": [{"metric": "accuracy", "operator": ">=", "bound": -0.05, "relative": true}], "budget": {"trials": 24, "minutes": 10.0, "usd": null, "patience": 6}, "limits": {"memory_gib": null, "minutes": 4.0}, "prices": {"cpu_core": 0.04, "gpus": {}, "nodes": {}}, "executor": {"kind": "local", "workers": 1, "address": null, "takeover_seconds": 60.0, "landscape": null}, "sampler": {"kind": "factored", "seed": 0}, "start_with": [{"values": {"batch_size": 16, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}}], "sharing": true, "stopping": "optimistic", "confirm": {"top": 2, "seeds": 1}, "warm_start": "earlier", "spec": {}}', '{"study": "words", "budget": {"trials": 24, "minutes": 10.0, "without_gain": 6}, "warm_start": "earlier"}', '2026-11-26 15:02:19.93674+00', 23);
INSERT INTO public.trials VALUES (1, 1, 0, 'complete', '05f51ad398420a8f', 0, 'baseline', NULL, '2026-11-26 15:02:19.740332+00', '2026-11-26 15:02:19.753589+00', NULL, '{"batch_size": 8, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}', 'train
', '2026-11-26 15:02:19.740332+00', 'vm:22664:f33c2961', 2);
INSERT INTO public.trials VALUES (2, 1, 1, 'complete', '0f0c0bffbda54191', 0, 'start_with', NULL, '2026-11-26 15:02:19.776292+00', '2026-11-26 15:02:19.783978+00', NULL, '{"batch_size": 16, "learning_rate": 5e-05, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}', 'train
', '2026-11-26 15:02:19.776292+00', 'vm:22664:f33c2961', 4);
INSERT INTO public.trials VALUES (3, 1, 2, 'complete', '870efb8be460f839', 0, 'sampler', NULL, '2026-11-26 15:02:19.796851+00', '2026-11-26 15:02:19.803924+00', NULL, '{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "other_trials_on_host": 2}', 'train
', '2026-11-26 15:02:19.796851+00', 'vm:22664:f33c2961', 6);
INSERT INTO public.trials VALUES (4, 1, 3, 'interrupted', '26080fe5a1729175', 0, 'sampler', NULL, '2026-11-26 15:02:19.816029+00', '2026-11-26 15:02:19.822851+00', 'the driver ended', '{"batch_size": 32, "learning_rate": 0.0004, "precision": "fp32", "threads": 1}', '{}', NULL, '2026-11-26 15:02:19.816029+00', 'vm:22664:f33c2961', 8);
INSERT INTO public.trials VALUES (5, 1, 4, 'pruned', '26080fe5a1729175', 0, 'rerun', NULL, '2026-11-26 15:02:19.831144+00', '2026-11-26 15:02:19.837548+00', 'stays dominated', '{"batch_size": 32, "learning_rate": 0.0004, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}', 'train
', '2026-11-26 15:02:19.831144+00', 'vm:22664:f33c2961', 10);
INSERT INTO public.trials VALUES (9, 1, 8, 'infeasible', '892aa4acbbf8ffb9', 0, 'sampler', 'out_of_memory', '2026-11-26 15:02:19.898402+00', '2026-11-26 15:02:19.904395+00', '4.2 GiB over the limit', '{"batch_size": 32, "learning_rate": 5e-05, "precision": "bf16", "threads": 1}', '{}', NULL, '2026-11-26 15:02:19.898402+00', 'vm:22664:f33c2961', 18);
INSERT INTO public.trials VALUES (10, 1, 9, 'complete', '870efb8be460f839', 1, 'confirm', NULL, '2026-11-26 15:02:19.911032+00', '2026-11-26 15:02:19.916586+00', NULL, '{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "predicted": {"peak_memory_gib": 0.9}}', 'train
', '2026-11-26 15:02:19.911032+00', 'vm:22664:f33c2961', 20);
INSERT INTO public.trials VALUES (11, 1, 10, 'failed', 'a564bedc9ed2f0df', 0, 'sampler', 'error', '2026-11-26 15:02:19.92571+00', '2026-11-26 15:02:19.931048+00', 'ValueError: 4 probe took too long', '{"batch_size": 16, "learning_rate": 0.0009, "precision": "fp32", "threads": 1}', '{}', NULL, '2026-11-26 15:02:19.92571+00', 'vm:22664:f33c2961', 22);
INSERT INTO public.trials VALUES (12, 1, 11, 'queued', 'ad88c486da27075d', 0, 'rerun', NULL, NULL, NULL, NULL, '{"batch_size": 16, "learning_rate": 0.0001, "precision": "fp32", "threads": 1}', '{}', NULL, NULL, NULL, 23);
INSERT INTO public.trials VALUES (6, 1, 5, 'complete', '870efb8be460f839', 0, 'isolated', NULL, '2026-11-26 15:02:19.848448+00', '2026-11-26 15:02:19.854925+00', NULL, '{"batch_size": 32, "learning_rate": 0.0003, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16}', 'train
', '2026-11-26 15:02:19.848448+00', 'vm:22664:f33c2961', 12);
INSERT INTO public.trials VALUES (7, 1, 6, 'complete', '4ed279e5f9d1b4b9', 0, 'imported', NULL, '2026-11-26 15:02:19.866027+00', '2026-11-26 15:02:19.871701+00', NULL, '{"batch_size": 16, "learning_rate": 0.0002, "precision": "fp32", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "warm_start": {"study": "earlier", "trial": 4}}', 'train
', '2026-11-26 15:02:19.866027+00', 'vm:22664:f33c2961', 14);
INSERT INTO public.trials VALUES (8, 1, 7, 'complete', 'a7f092858d7bd57c', 0, 'transferred', NULL, '2026-11-26 15:02:19.883093+00', '2026-11-26 15:02:19.889439+00', NULL, '{"batch_size": 16, "learning_rate": 5e-05, "precision": "bf16", "threads": 1}', '{"python": "3.11.7", "host": "example", "threads": 1, "scale": 1.0, "tiny": 1e-05, "huge": 1e+16, "warm_start": {"study": "earlier", "trial": 5}}', 'train
', '2026-11-26 15:02:19.883093+00', 'vm:22664:f33c2961', 16);
SELECT pg_catalog.setval('public.access_tokens_id_seq', 1, false);
SELECT pg_catalog.setval('public.audit_log_id_seq', 1, false);
SELECT pg_catalog.setval('public.deliveries_id_seq', 1, false);
SELECT pg_catalog.setval('public.environments_id_seq', 1, true);
SELECT pg_catalog.setval('public.studies_id_seq', 1, true);
SELECT pg_catalog.setval('public.submissions_id_seq', 1, false);
SELECT pg_catalog.setval('public.trials_id_seq', 12, true);
SELECT pg_catalog.setval('public.webhooks_id_seq', 1, false);
ALTER TABLE ONLY public.autotune_schema
    ADD CONSTRAINT autotune_schema_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT pk_access_tokens PRIMARY KEY (id);
ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT pk_artifacts PRIMARY KEY (trial_id, name);
ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT pk_audit_log PRIMARY KEY (id);
ALTER TABLE ONLY public.correctness
    ADD CONSTRAINT pk_correctness PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.curve_points
    ADD CONSTRAINT pk_curve_points PRIMARY KEY (trial_id, "position");
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT pk_deliveries PRIMARY KEY (id);
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT pk_environments PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (trial_id, "position");
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT pk_measurements PRIMARY KEY (trial_id, name);
ALTER TABLE ONLY public.memory_timelines
    ADD CONSTRAINT pk_memory_timelines PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT pk_models PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT pk_studies PRIMARY KEY (id);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT pk_submissions PRIMARY KEY (id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT pk_trials PRIMARY KEY (id);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT pk_webhooks PRIMARY KEY (id);
ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT uq_access_tokens_digest UNIQUE (digest);
ALTER TABLE ONLY public.access_tokens
    ADD CONSTRAINT uq_access_tokens_name UNIQUE (name);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT uq_deliveries_webhook_id_event_key UNIQUE (webhook_id, event_key);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT uq_studies_name UNIQUE (name);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT uq_submissions_study UNIQUE (study);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT uq_trials_study_id_number UNIQUE (study_id, number);
CREATE INDEX ix_deliveries_next_at ON public.deliveries USING btree (next_at);
CREATE INDEX ix_environments_study_id ON public.environments USING btree (study_id);
CREATE INDEX ix_submissions_owner ON public.submissions USING btree (owner);
CREATE INDEX ix_submissions_state ON public.submissions USING btree (state);
CREATE INDEX ix_trials_study_id_revision ON public.trials USING btree (study_id, revision);
CREATE INDEX ix_trials_study_id_state ON public.trials USING btree (study_id, state);
CREATE INDEX ix_trials_study_id_strategy_key ON public.trials USING btree (study_id, strategy_key);
CREATE INDEX ix_webhooks_owner ON public.webhooks USING btree (owner);
ALTER TABLE ONLY public.artifacts
    ADD CONSTRAINT fk_artifacts_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.correctness
    ADD CONSTRAINT fk_correctness_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.curve_points
    ADD CONSTRAINT fk_curve_points_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT fk_deliveries_webhook_id FOREIGN KEY (webhook_id) REFERENCES public.webhooks(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.environments
    ADD CONSTRAINT fk_environments_study_id FOREIGN KEY (study_id) REFERENCES public.studies(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.events
    ADD CONSTRAINT fk_events_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT fk_measurements_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.memory_timelines
    ADD CONSTRAINT fk_memory_timelines_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.models
    ADD CONSTRAINT fk_models_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT fk_trials_study_id FOREIGN KEY (study_id) REFERENCES public.studies(id) ON DELETE CASCADE;
