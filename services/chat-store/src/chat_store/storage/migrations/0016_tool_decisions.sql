-- runs-with: 1
-- Which of a round's calls were approved or denied: a JSON object of call ids and booleans, kept when the round is replaced.

ALTER TABLE tool_rounds ADD COLUMN decisions text NOT NULL DEFAULT '{}';
