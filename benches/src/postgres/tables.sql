-- Tracking on PostgreSQL as a team would write it: a table for each thing, the indexes that its pages need, and
-- one function call for a request. Counters stand in their rows; an identifier that another profile has merges the
-- younger of the two into the older: its sessions, identifiers and counters move, for good.
--
-- It does less than the engine: no user agents, no normalising, no reasons, no undo and no past; events are found by
-- session, and by profile over its sessions.

CREATE TABLE profile (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_seen timestamptz,
    last_seen timestamptz,
    events bigint NOT NULL DEFAULT 0,
    sessions bigint NOT NULL DEFAULT 0,
    page_views bigint NOT NULL DEFAULT 0,
    traits jsonb NOT NULL DEFAULT '{}',
    merged_into uuid
);
CREATE INDEX profile_merged_into ON profile (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE session (
    id uuid PRIMARY KEY,
    profile uuid NOT NULL,
    started_at timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    events bigint NOT NULL DEFAULT 0,
    page_views bigint NOT NULL DEFAULT 0,
    conversions bigint NOT NULL DEFAULT 0,
    entry_page text,
    exit_page text
);
CREATE INDEX session_profile ON session (profile);

CREATE TABLE event (
    id uuid PRIMARY KEY,
    session uuid NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    properties jsonb,
    context jsonb
);
CREATE INDEX event_session ON event (session, time);

CREATE TABLE identifier (
    namespace text NOT NULL,
    value text NOT NULL,
    profile uuid NOT NULL,
    PRIMARY KEY (namespace, value)
);
CREATE INDEX identifier_profile ON identifier (profile);

-- The profile that a device's id leads to now; created if there is none.
CREATE FUNCTION profile_of(p_profile uuid) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_profile uuid;
BEGIN
    IF p_profile IS NOT NULL THEN
        SELECT coalesce(merged_into, id) INTO v_profile FROM profile WHERE id = p_profile;
        IF FOUND THEN
            RETURN v_profile;
        END IF;
    END IF;
    v_profile := coalesce(p_profile, gen_random_uuid());
    INSERT INTO profile (id) VALUES (v_profile) ON CONFLICT (id) DO NOTHING;
    RETURN v_profile;
END $$;

-- What an event says about who it was. Returns the profile that has it then.
CREATE FUNCTION identify(p_profile uuid, p_namespaces text[], p_values text[], p_traits jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    v_profile uuid := p_profile;
    v_owner uuid;
    v_winner uuid;
    v_loser uuid;
BEGIN
    FOR i IN 1 .. coalesce(array_length(p_namespaces, 1), 0) LOOP
        INSERT INTO identifier VALUES (p_namespaces[i], p_values[i], v_profile) ON CONFLICT DO NOTHING;
        CONTINUE WHEN FOUND;
        SELECT profile INTO v_owner FROM identifier WHERE namespace = p_namespaces[i] AND value = p_values[i];
        CONTINUE WHEN v_owner = v_profile;
        PERFORM 1 FROM profile WHERE id IN (v_owner, v_profile) ORDER BY id FOR UPDATE;
        SELECT id INTO v_winner FROM profile WHERE id IN (v_owner, v_profile) ORDER BY created_at, id LIMIT 1;
        v_loser := CASE WHEN v_winner = v_owner THEN v_profile ELSE v_owner END;
        UPDATE session SET profile = v_winner WHERE profile = v_loser;
        UPDATE identifier SET profile = v_winner WHERE profile = v_loser;
        UPDATE profile w SET
            first_seen = least(w.first_seen, l.first_seen),
            last_seen = greatest(w.last_seen, l.last_seen),
            events = w.events + l.events,
            sessions = w.sessions + l.sessions,
            page_views = w.page_views + l.page_views,
            traits = w.traits || l.traits
        FROM profile l WHERE w.id = v_winner AND l.id = v_loser;
        UPDATE profile SET merged_into = v_winner WHERE id = v_loser OR merged_into = v_loser;
        v_profile := v_winner;
    END LOOP;
    UPDATE profile SET traits = traits || p_traits WHERE id = v_profile;
    RETURN v_profile;
END $$;

-- One event. Returns its profile, and whether it was new.
CREATE FUNCTION track(
    p_session uuid, p_profile uuid, p_event uuid, p_type text, p_time timestamptz,
    p_properties text, p_context text, p_namespaces text[], p_values text[], p_traits text,
    OUT o_profile uuid, OUT o_stored boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_properties jsonb := p_properties;
    v_page text := CASE WHEN p_type = 'page-view' THEN v_properties->>'path' END;
    v_view int := (p_type = 'page-view')::int;
    v_new int := 0;
BEGIN
    INSERT INTO event (id, session, type, time, properties, context)
    VALUES (p_event, p_session, p_type, p_time, v_properties, p_context::jsonb) ON CONFLICT (id) DO NOTHING;
    o_stored := FOUND;
    IF NOT o_stored THEN
        SELECT profile INTO o_profile FROM session WHERE id = p_session;
        RETURN;
    END IF;
    UPDATE session SET
        events = events + 1, page_views = page_views + v_view,
        conversions = conversions + (p_type = 'purchase')::int,
        started_at = least(started_at, p_time), last_seen = greatest(last_seen, p_time),
        exit_page = coalesce(v_page, exit_page)
    WHERE id = p_session RETURNING profile INTO o_profile;
    IF NOT FOUND THEN
        o_profile := profile_of(p_profile);
        INSERT INTO session
        VALUES (p_session, o_profile, p_time, p_time, 1, v_view, (p_type = 'purchase')::int, v_page, v_page);
        v_new := 1;
    END IF;
    UPDATE profile SET
        events = events + 1, sessions = sessions + v_new, page_views = page_views + v_view,
        first_seen = least(first_seen, p_time), last_seen = greatest(last_seen, p_time)
    WHERE id = o_profile;
    IF p_namespaces IS NOT NULL THEN
        o_profile := identify(o_profile, p_namespaces, p_values, p_traits::jsonb);
    END IF;
END $$;

-- Many events at once: rows are found and written by sets, but for those that say who it was. Identifiers of event
-- n are those with n in p_owners. Returns the profile of each event, and how many were new.
CREATE FUNCTION track_many(
    p_sessions uuid[], p_profiles uuid[], p_events uuid[], p_types text[], p_times timestamptz[],
    p_properties text[], p_contexts text[],
    p_owners int[], p_namespaces text[], p_values text[], p_traits text[],
    OUT o_profiles uuid[], OUT o_stored bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_event record;
BEGIN
    -- In one order, so that two calls never wait for each other in a circle.
    PERFORM 1 FROM session WHERE id = ANY (p_sessions) ORDER BY id FOR UPDATE;
    INSERT INTO session (id, profile, started_at, last_seen)
    SELECT s.id, profile_of(s.profile), s.time, s.time FROM (
        SELECT DISTINCT ON (id) id, profile, time
        FROM unnest(p_sessions, p_profiles, p_times) AS sent (id, profile, time)
        WHERE NOT EXISTS (SELECT FROM session WHERE session.id = sent.id) ORDER BY id
    ) AS s;
    WITH new AS (
        INSERT INTO event (id, session, type, time, properties, context)
        SELECT id, session, type, time, properties::jsonb, context::jsonb
        FROM unnest(p_events, p_sessions, p_types, p_times, p_properties, p_contexts)
            AS sent (id, session, type, time, properties, context)
        ON CONFLICT (id) DO NOTHING
        RETURNING session, type, time, CASE WHEN type = 'page-view' THEN properties->>'path' END AS page
    ), by_session AS (
        SELECT session, count(*) AS events, count(page) AS page_views,
            count(*) FILTER (WHERE type = 'purchase') AS conversions, min(time) AS first, max(time) AS last,
            (array_agg(page ORDER BY time) FILTER (WHERE page IS NOT NULL))[1] AS entry,
            (array_agg(page ORDER BY time DESC) FILTER (WHERE page IS NOT NULL))[1] AS exit
        FROM new GROUP BY session
    ), counted AS (
        UPDATE session SET
            events = session.events + b.events, page_views = session.page_views + b.page_views,
            conversions = session.conversions + b.conversions,
            started_at = least(started_at, b.first), last_seen = greatest(last_seen, b.last),
            entry_page = coalesce(entry_page, b.entry), exit_page = coalesce(b.exit, exit_page)
        FROM by_session b WHERE session.id = b.session
        RETURNING session.profile, b.events, b.page_views, b.first, b.last, session.events = b.events AS created
    ), by_profile AS (
        SELECT profile, sum(events) AS events, sum(page_views) AS page_views,
            count(*) FILTER (WHERE created) AS sessions, min(first) AS first, max(last) AS last
        FROM counted GROUP BY profile
    ), written AS (
        UPDATE profile SET
            events = profile.events + b.events, sessions = profile.sessions + b.sessions,
            page_views = profile.page_views + b.page_views,
            first_seen = least(first_seen, b.first), last_seen = greatest(last_seen, b.last)
        FROM by_profile b WHERE profile.id = b.profile
    )
    SELECT count(*) INTO o_stored FROM new;
    FOR v_event IN
        SELECT i.owner, array_agg(i.namespace ORDER BY i.place) AS namespaces,
            array_agg(i.value ORDER BY i.place) AS values
        FROM unnest(p_owners, p_namespaces, p_values) WITH ORDINALITY AS i (owner, namespace, value, place)
        GROUP BY i.owner ORDER BY i.owner
    LOOP
        PERFORM identify(
            (SELECT profile FROM session WHERE id = p_sessions[v_event.owner]),
            v_event.namespaces, v_event.values, p_traits[v_event.owner]::jsonb);
    END LOOP;
    SELECT array_agg(s.profile ORDER BY sent.place) INTO o_profiles
    FROM unnest(p_sessions) WITH ORDINALITY AS sent (id, place) JOIN session s ON s.id = sent.id;
END $$;
