-- putback: deliveries that were moved to active, and not taken, go back to the head of
-- pending.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then their task IDs, of which the first runs first.

local ids = {}
for i = 2, #ARGV do
  ids[i - 1] = ARGV[i]
end
asynq_unpop('asynq:{' .. ARGV[1] .. '}:', ids)
return #ids
