-- trim: bounds the archive of a lane.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 how many deliveries stay, 3 from which time on they stay (Unix, s), 4 how
-- many are removed at the most.
-- Reply: how many were removed.

return asynq_trim('asynq:{' .. ARGV[1] .. '}:', tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]))
