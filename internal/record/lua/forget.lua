-- forget: removes every trace of a job.
--
-- ARGV: 1 channel on which workers listen for ended jobs.
-- Reply: the state it was in, or "gone".

local j = redis.call('HMGET', KEYS[1], 'state', 'reply', 'id', 'recorded', 'done', 'failed')
if redis.call('HGET', KEYS[1], 'blobs') then
  large().each(function(key)
    redis.pcall('UNLINK', key)
  end)
end
redis.call('UNLINK', unpack(KEYS))
if not j[1] then
  return 'gone'
end
if j[1] ~= 'done' and j[1] ~= 'canceled' then
  notify(j[2], j[3], 'end', '-1', j[4], j[5], j[6], 'forgotten', '')
  redis.call('PUBLISH', ARGV[1], address(j[3]))
end
return j[1]
