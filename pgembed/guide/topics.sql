-- The examples of pgembed.help(), in the order in which they run: a test runs them all. "-- # subject: what it is about" begins a subject,
-- "-- ## topic | related topics" the examples of a function, procedure, view or type. What each is and takes stands in the catalog, in its
-- COMMENT; here is only what that cannot say. "-- ##" tables makes what the examples use.

-- ## tables
CREATE TABLE product (id int PRIMARY KEY, name text, description text, category text, price numeric);
INSERT INTO product
SELECT row_number() OVER (), style || ' ' || thing, thing || ' ' || what || ', ' || style, category, 10 + length(what) * (1 + length(style))
FROM   (VALUES ('jacket', 'that keeps the rain out', 'clothes'), ('poncho', 'for children on rainy days', 'clothes'),
               ('parka', 'of down for the coldest winter', 'clothes'), ('tent', 'for two people and four seasons', 'camping'),
               ('stove', 'that burns gas, for small pots', 'camping'), ('lamp', 'with a battery for long nights', 'camping'),
               ('bicycle', 'with eight gears and good brakes', 'sport'), ('kayak', 'for rivers and quiet lakes', 'sport'),
               ('racket', 'for tennis, with new strings', 'sport'), ('guitar', 'with six strings of steel', 'music')) AS t (thing, what, category),
       (VALUES ('red'), ('light'), ('folding'), ('simple'), ('strong'), ('small'), ('large'), ('old'), ('blue'), ('warm')) AS s (style);
CREATE TABLE wish (id int PRIMARY KEY, wish text);
INSERT INTO wish VALUES (1, 'something dry for a walk in the rain'), (2, 'cook outdoors'), (3, 'sleep in the woods'), (4, 'learn an instrument'),
    (5, 'read at night'), (6, 'cross a lake');
CREATE TABLE company (id int PRIMARY KEY, name text, sector text);
INSERT INTO company VALUES (1, 'Acme Tools', 'hardware'), (2, 'Borealis Energy', 'power'), (3, 'Cormorant Shipping', 'freight'),
    (4, 'Dunlin Foods', 'bakery'), (5, 'Egret Airlines', 'travel'), (6, 'Fulmar Bank', 'finance');
CREATE TABLE article (id int PRIMARY KEY, body text);
INSERT INTO article VALUES (1, 'Acme Tools sells hammers to Cormorant Shipping.'), (2, 'Egret Airlines flies with fuel of Borealis Energy.'),
    (3, 'Dunlin Foods owes money to Fulmar Bank.');

-- # embed: columns of embeddings that follow their source
-- ## add_embedding | refresh embeddings alter_embedding drop_embedding adopt_embedding wait_for
SELECT pgembed.add_embedding('product', $$ name || ': ' || description $$);
SELECT pgembed.add_embedding('wish', 'wish', sync => 'queued');                              -- a worker or refresh embeds
SELECT pgembed.add_embedding('company', $$ name || ', ' || sector $$);
SELECT pgembed.add_embedding('article', 'body', column_name => 'part', chunk_tokens => 50);  -- long texts, in parts
-- ## refresh | work embeddings progress failures
CALL pgembed.refresh('product');
CALL pgembed.refresh('company');
CALL pgembed.refresh('wish', batch_size => 5000, build_index => false);
CALL pgembed.refresh('product', recheck => true);   -- after changes that triggers did not see
-- ## embeddings | workers progress freshness failures refresh
SELECT table_name, column_name, rows, fresh, stale, pending, failed FROM pgembed.embeddings;
SELECT source, model, sync FROM pgembed.embeddings WHERE table_name = 'product'::regclass;   -- regclass: else PostgreSQL expects a number
-- ## alter_embedding | add_embedding change_model
SELECT pgembed.alter_embedding('product', sync => 'manual');
SELECT pgembed.alter_embedding('product', sync => 'queued');
-- ## adopt_embedding | add_embedding drop_embedding
CREATE TABLE point (id int PRIMARY KEY, e vector(3));
INSERT INTO point VALUES (1, '[1,0,0]'), (2, '[0,1,0]');
SELECT pgembed.adopt_embedding('point', 'e');   -- vectors of your own
-- ## drop_embedding | add_embedding
SELECT pgembed.drop_embedding('point');
-- ## embed | embed_query token_count set_default_model
SELECT pgembed.embed('waterproof') <=> pgembed.embed('keeps the rain out') AS distance;
SELECT cardinality(pgembed.embed(ARRAY['one text', 'another'])) AS vectors;
-- ## embed_query | embed search
SELECT name FROM product ORDER BY embedding <=> pgembed.embed_query('product', 'rainy days') LIMIT 3;
-- ## token_count | chunk embed
SELECT pgembed.token_count('How many tokens is this?');
-- ## chunk | add_embedding token_count
SELECT * FROM pgembed.chunk('First sentence. Second sentence. Third one.', 8);
-- ## freshness | embeddings truncated by_hand provenance
SELECT id, pgembed.freshness(embedding, embedding_hash) FROM product LIMIT 3;
-- ## truncated | freshness token_count add_embedding
SELECT count(*) FROM product WHERE pgembed.truncated(embedding_hash);
-- ## by_hand | freshness provenance
SELECT count(*) FROM product WHERE pgembed.by_hand(embedding_hash);
-- ## provenance | freshness by_hand
SELECT key, state, model, by_hand FROM pgembed.provenance('product') LIMIT 3;
-- ## wait_for | refresh workers embeddings
UPDATE product SET description = 'a jacket that breathes' WHERE id = 1;
CALL pgembed.work();
SELECT pgembed.wait_for('product', '1 s');
-- ## work | refresh workers retry_failed
CALL pgembed.work('product', max_seconds => 10);
-- ## retry_failed | failures work
SELECT pgembed.retry_failed('product');
-- ## failures | retry_failed embeddings work_in_progress
SELECT table_name, key, error, next_try FROM pgembed.failures;
-- ## freshness_log | embeddings refresh
SELECT at, fresh, stale, pending FROM pgembed.freshness_log WHERE table_name = 'product'::regclass ORDER BY at;
-- ## work_in_progress | workers failures
SELECT table_name, rows, worker, is_live FROM pgembed.work_in_progress;
-- ## workers | work work_in_progress
SELECT name, state, doing, rows_done FROM pgembed.workers;

-- # search: the rows nearest in meaning, under any filter
-- ## search | explain_search search_like search_keys text_array calibrate
SELECT (item).name, distance FROM pgembed.search(NULL::product, 'something for rainy days', k => 3);
SELECT (item).name, (item).price, distance
FROM   pgembed.search(NULL::product, 'something for rainy days', k => 3,
                      filter => $$ price < ($1->>'most')::numeric AND category = $1->>'kind' $$,
                      params => '{"most": 900, "kind": "clothes"}');
SELECT (item).name FROM pgembed.search(NULL::product, 'music', recall => 0.99, max_distance => 0.8);
-- ## search_like | search
SELECT (item).name, distance FROM pgembed.search_like(NULL::product, '1', k => 3);
-- ## search_keys | search
SELECT key, distance FROM pgembed.search_keys('product', 'music', k => 3);
-- ## text_array | search
SELECT (item).name FROM pgembed.search(NULL::product, 'warm', k => 3,
    filter => $$ category = ANY (pgembed.text_array($1->'kinds')) $$, params => '{"kinds": ["clothes", "camping"]}');
-- ## explain_search | search calibrate advise
SELECT * FROM pgembed.explain_search(NULL::product, 'rainy days', filter => 'price < 500', execute => false);
-- ## calibrate | calibrations search explain_search
CALL pgembed.calibrate('product', sample => 20);
-- ## calibrations | calibrate
SELECT table_name, path, share, ef_search, recall, milliseconds FROM pgembed.calibrations LIMIT 5;
-- ## set_filter_log | filters_used advise
SELECT pgembed.set_filter_log(true);
SELECT pgembed.set_filter_log(false);
-- ## filters_used | set_filter_log advise
SELECT target, shape, searches, rows FROM pgembed.filters_used;
-- ## advise | explain_search set_filter_log code_indexes
SELECT statement, reason FROM pgembed.advise('product', filters => ARRAY['category = ''music''']);
-- ## check_query | set_search_defaults search
SELECT level, finding, remedy FROM pgembed.check_query($$
    SELECT name FROM product WHERE category = 'music' ORDER BY embedding <=> $1 LIMIT 10 $$,
    ARRAY[pgembed.embed_query('product', 'rainy days')::text]);
-- ## set_search_defaults | check_query reset_search_defaults
SELECT pgembed.set_search_defaults();
-- ## reset_search_defaults | set_search_defaults
SELECT pgembed.reset_search_defaults();
-- ## distance | embed scan_codes
SELECT pgembed.distance('product', '1', 'product', '2');   -- of two rows, by their keys

-- # join: pairs of rows of two tables that mean the same
-- ## semantic_join | explain_join semantic_join_keys semantic_join_into create_labels hubness
SELECT (left_row).wish, (right_row).name, distance FROM pgembed.semantic_join(NULL::wish, NULL::product);
SELECT (left_row).wish, (right_row).name FROM pgembed.semantic_join(NULL::wish, NULL::product, k => 2, max_distance => 0.7,
    condition => $$ r.price < 900 $$);
-- ## semantic_join_keys | semantic_join
SELECT left_key, right_key, distance FROM pgembed.semantic_join_keys('wish', 'product', mapping => 'one_to_one');
-- ## semantic_join_into | semantic_join progress
SELECT pgembed.semantic_join_into('wish_product', 'wish', 'product');
-- ## explain_join | semantic_join
SELECT * FROM pgembed.explain_join(NULL::wish, NULL::product, execute => false);
-- ## create_labels | review_pairs semantic_join
SELECT pgembed.create_labels('wish_label', 'wish', 'product');
-- ## review_pairs | create_labels semantic_join
SELECT left_text, right_text, reason FROM pgembed.review_pairs('wish', 'product', 'wish_label', 3);
-- ## hubness | semantic_join
SELECT key, hubness FROM pgembed.hubness('product') ORDER BY hubness DESC LIMIT 3;
-- ## joinable_columns | semantic_join
SELECT own_column, other_table, other_column, kind, containment FROM pgembed.joinable_columns('wish', sampled => true);

-- # explore: what the rows of a table are about
-- ## classify | topics
SELECT key, label, probability FROM pgembed.classify('product', '{"outdoors": ["tent", "kayak"], "clothes": "things to wear"}') LIMIT 3;
-- ## topics | topic_rows classify
SELECT topic, size, words FROM pgembed.topics('product', n => 4);
-- ## topic_rows | topics
SELECT key, topic FROM pgembed.topic_rows('product', n => 4) LIMIT 3;
-- ## deduplicate | semantic_join
SELECT key, cluster, is_representative FROM pgembed.deduplicate('company');

-- # link: names in texts, and the rows that they mean
-- ## create_linker | link alter_linker linkers train_linker
SELECT pgembed.create_linker('company', 'company', names => 'name', context => 'embedding');
-- ## linkers | create_linker train_linker
SELECT name, status, targets, names, rows FROM pgembed.linkers;
-- ## link | link_keys explain_link link_table correct_link
SELECT mention, (entity).id, score, decision FROM pgembed.link(NULL::company, 'Acme Tools sells hammers to Fulmar Bank.');
SELECT mention, (entity).name FROM pgembed.link(NULL::company, 'Acme Tools and Fulmar Bank', filter => $$ sector <> 'finance' $$);
-- ## link_keys | link
SELECT mention, entity_table, entity_key FROM pgembed.link_keys('company', 'Egret Airlines flies.');
-- ## explain_link | link
SELECT rank, entity_name, probability, evidence FROM pgembed.explain_link('company', 'Egret Airlines flies.');
-- ## add_linker_target | create_linker drop_linker_target
SELECT pgembed.add_linker_target('company', 'product', names => 'name');
-- ## drop_linker_target | add_linker_target
SELECT pgembed.drop_linker_target('company', 'product');
-- ## alter_linker | create_linker linkers
SELECT pgembed.alter_linker('company', 'company', types => 'sector');
-- ## link_table | link_tables correct_link link
CALL pgembed.link_table('company', 'article', 'body', 'article_company');
-- ## link_tables | link_table
SELECT destination, linker, source, text_column FROM pgembed.link_tables;
-- ## correct_link | link_corrections train_linker
SELECT pgembed.correct_link('article_company', '1', 1, 11, '1');
-- ## link_corrections | correct_link
SELECT source_key, mention, entity_key, corrected_by FROM pgembed.link_corrections('article_company');
-- ## create_link_labels | train_linker evaluate_linker
SELECT pgembed.create_link_labels('company_label', 'company');
INSERT INTO company_label (content, start_char, end_char, entity_key)
SELECT body, strpos(body, name), strpos(body, name) + length(name), c.id::text FROM article, company AS c WHERE strpos(body, name) > 0;
-- ## train_linker | create_link_labels evaluate_linker linkers
CALL pgembed.train_linker('company', 'company_label');
-- ## evaluate_linker | train_linker create_link_labels
SELECT pgembed.create_link_labels('company_gold', 'company');
INSERT INTO company_gold (content, start_char, end_char, entity_key) VALUES ('Fulmar Bank lends.', 1, 12, '6');
SELECT mentions, "precision", recall, f1 FROM pgembed.evaluate_linker('company', 'company_gold');
-- ## drop_linker | create_linker
DROP TABLE article_company CASCADE;   -- and the view of what holds
SELECT pgembed.drop_linker('company');

-- # codes: compressed vectors beside the vectors
-- ## recommend_codec | train_codec codecs
SELECT method, bytes, recall, is_recommended FROM pgembed.recommend_codec('company', min_recall => 0.9);
-- ## train_codec | add_code codecs recommend_codec check_codec
SELECT pgembed.train_codec('product_bits', 'product', 'sign');
-- ## codecs | train_codec check_codec
SELECT name, method, bytes, recall_100, needs_retraining FROM pgembed.codecs;
-- ## add_code | fill_code code_indexes use_code codes
SELECT pgembed.add_code('product', 'product_bits');
-- ## fill_code | add_code code_indexes
CALL pgembed.fill_code('product');
-- ## code_indexes | add_code advise
SELECT pgembed.code_indexes('product');   -- \gexec in place of the semicolon runs them
-- ## codes | add_code fill_code
SELECT table_name, column_name, codec, is_active, rows, pending FROM pgembed.codes;
-- ## use_code | add_code codes
SELECT pgembed.use_code('product', 'product_bits');
-- ## scan_codes | search masked_query
SELECT key, distance FROM pgembed.scan_codes('product', 'rainy days', k => 3, filter => 'price < 500');
-- ## masked_query | scan_codes train_codec
SELECT name FROM product, pgembed.masked_query('product_bits', pgembed.embed_query('product', 'rainy days')) AS q
ORDER  BY (product_bits & q.mask) <~> q.bits LIMIT 3;
-- ## binvec | train_codec add_code
SELECT '10110'::pgembed.binvec(5);
-- ## check_codec | retrain_codec codecs
SELECT * FROM pgembed.check_codec('product_bits');
-- ## retrain_codec | check_codec use_code
SELECT pgembed.retrain_codec('product_bits');   -- product_bits_2
-- ## drop_code | add_code drop_codec
SELECT pgembed.drop_code('product', 'product_bits');
-- ## drop_codec | drop_code train_codec
SELECT pgembed.drop_codec('product_bits');

-- # models: what makes vectors, and how a column gets another
-- ## models | register_model set_default_model
SELECT name, kind, dim, is_default, columns FROM pgembed.models;
-- ## register_model | models drop_model grant_model change_model
SELECT pgembed.register_model('minilm-128', 'all-minilm-l6-v2', dim => 128);
SELECT pgembed.register_model('far', 'https://embeddings.example/v1', remote_model => 'small', dim => 512, options => '{"probe": false}');
-- ## grant_model | register_model revoke_model
SELECT pgembed.grant_model('far');
-- ## revoke_model | grant_model
SELECT pgembed.revoke_model('far');
-- ## drop_model | register_model
SELECT pgembed.drop_model('far');
-- ## set_default_model | models embed
SELECT pgembed.set_default_model('all-minilm-l6-v2');
-- ## set_threads | embed
SELECT pgembed.set_threads(2);
SELECT pgembed.set_threads(NULL);
-- ## compensation_report | compensate
SELECT method, recall_10_kept, advice FROM pgembed.compensation_report('product', 'minilm-128', sample => 100);
-- ## compensate | compensation_report drop_adapter change_model
SELECT pgembed.compensate('product', 'minilm-128', sample => 100, min_recall => 0.1);
-- ## adapters | compensate fit_adapter
SELECT table_name, kind, method, model, in_force FROM pgembed.adapters;
-- ## drop_adapter | compensate fit_adapter
SELECT pgembed.drop_adapter('product');
-- ## fit_adapter | drop_adapter adapters
CREATE TABLE click (query text, key text);
INSERT INTO click SELECT 'I want a ' || name, id::text FROM product;
SELECT measure, before, after, installed FROM pgembed.fit_adapter('product', 'click');
-- ## change_model | switch_model model_changes rollback_model finish_model_change
CALL pgembed.change_model('company', 'minilm-128', switch => false);
-- ## model_changes | change_model
SELECT table_name, state, done, rows, overlap FROM pgembed.model_changes;
-- ## model_change_indexes | change_model
SELECT pgembed.model_change_indexes('company');
-- ## switch_model | change_model rollback_model finish_model_change
SELECT pgembed.switch_model('company');
-- ## rollback_model | switch_model change_model
SELECT pgembed.rollback_model('company');
-- ## finish_model_change | switch_model rollback_model
SELECT pgembed.switch_model('company');
SELECT pgembed.finish_model_change('company');

-- # operate: what is going on, and what is wrong
-- ## doctor | repair embeddings failures
SELECT severity, subject, finding, remedy FROM pgembed.doctor();
-- ## repair | doctor
SELECT * FROM pgembed.repair('product');
-- ## progress | refresh work change_model
SELECT pid, what, target, done, total, eta FROM pgembed.progress;
-- ## version | doctor
SELECT pgembed.version();
-- ## help
SELECT pgembed.help();
SELECT pgembed.help('search');
