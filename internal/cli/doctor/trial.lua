-- Tries each command that the scripts of distpool and asynq run, in a way that
-- changes nothing, or what this script deletes at its end.
--
-- KEYS[1]  a key of a job that there is not
-- KEYS[2]  another one
-- ARGV[1]  a channel of no pool
--
-- Reply: a list of pairs, a command and the error that Redis gave for it. Errors
-- of the arguments are not in it: they come from commands that were run.

local a, b = KEYS[1], KEYS[2]
local trials = {
	{'exists', a}, {'get', a}, {'pttl', a}, {'mget', a}, {'set', a, 'x'}, {'del', a},
	{'hset', a, 'f', '1'}, {'hsetnx', a, 'f', '1'}, {'hget', a, 'f'}, {'hmget', a, 'f'}, {'hkeys', a}, {'hlen', a}, {'hexists', a, 'f'}, {'hstrlen', a, 'f'},
	{'hincrby', a, 'f', '1'}, {'hdel', a, 'f'}, {'del', a},
	{'rpush', a, 'x'}, {'lpush', a, 'x'}, {'lrange', a, '0', '-1'}, {'lpos', a, 'x'}, {'ltrim', a, '0', '0'}, {'lrem', a, '0', 'y'}, {'lset', a, '0', 'x'}, {'llen', a},
	{'expire', a, '1'}, {'pexpire', a, '1000'}, {'rpop', a}, {'lpop', a}, {'del', a},
	{'zadd', a, '1', 'x'}, {'zrange', a, '0', '-1'}, {'zrevrange', a, '0', '0'}, {'zrangebyscore', a, '0', '0'}, {'zscore', a, 'x'}, {'zcard', a}, {'zcount', a, '0', '0'},
	{'zrem', a, 'x'}, {'zremrangebyscore', a, '0', '0'}, {'zremrangebyrank', a, '0', '0'}, {'del', a},
	{'unlink', b}, {'sadd', b, 'x'}, {'sismember', b, 'x'}, {'smembers', b}, {'srem', b, 'x'}, {'del', b},
	{'incrby', b, '1'}, {'expireat', b, '1'}, {'del', b},
	{'setex', b, '1', 'x'}, {'del', b},
	{'xadd', a, 'NOMKSTREAM', '*', 'f', 'x'}, {'xdel', a, '0-1'}, {'xrange', a, '-', '+', 'COUNT', '1'},
	{'time'}, {'publish', ARGV[1], ''},
}
local failed = {}
for _, trial in ipairs(trials) do
	local reply = redis.pcall(unpack(trial))
	if type(reply) == 'table' and reply.err then
		failed[#failed + 1] = trial[1]
		failed[#failed + 1] = reply.err
	end
end
return failed
