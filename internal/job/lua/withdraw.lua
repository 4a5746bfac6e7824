-- withdraw: removes deliveries that no worker has taken.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 where in the pending list to look, 3 how many entries of it (0: not there),
-- then the task IDs.
-- Reply: how many were removed, and those of the others that are in the pending list.

return {asynq_withdraw('asynq:{' .. ARGV[1] .. '}:', {unpack(ARGV, 4)}, tonumber(ARGV[2]), tonumber(ARGV[3]))}
