-- Keeps the arguments of a chunk with failed calls, for people and for those calls to run
-- again: in kept:K, up to 64 MiB a job. kept:K is empty when there was no room. Answers
-- whether they were kept.
local function keep(key, chunk, args)
  local apart = string.match(args, '^@ %w+ (%d+)$')
  local size = tonumber(apart or #args)
  local room = redis.call('HINCRBY', key, 'kept', size) <= 67108864
  if not room then
    redis.call('HINCRBY', key, 'kept', 0 - size)
    args = ''
  end
  redis.call('HSET', key, 'kept:' .. chunk, args)
  return room
end
