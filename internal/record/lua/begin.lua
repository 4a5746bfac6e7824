-- begin: may this chunk run, and with what? Makes worker the chunk's owner.
--
-- ARGV: 1 chunk, 2 worker, 3 the owner from whom it may be taken over ("" for
-- nobody: the caller has found out that this one is dead), 4 how many owners a
-- chunk may lose before it is given up, 5 the
-- job's generation.
-- Reply, an array:
--   "gone"               no such job: it expired, was forgotten, or was lost
--   "ended" state        the job is done or canceled
--   "recorded"           the chunk has its outcome already
--   "busy" owner         another worker runs it
--   "lost" n args codec calls partial task policy headers big   n owners died in it: give
--       up the call in which the last one died, and run the others, for which the
--       count starts anew
--   "run" n args codec calls partial task policy headers big   run it; n is 1 the first
--       time. args may be the reference to large ones; big is "1" if who reads the
--       outcomes knows references
-- or an error: see damage in common.lua.

local chunk, worker, from, budget = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'codec', 'calls', 'task', 'policy', 'expires', 'gen', 'headers', 'big', 'v',
  'chunks', 'recorded')
if not j[1] or another(j[8], ARGV[5]) then
  return {'gone'}
end
if j[1] == 'done' or j[1] == 'canceled' then
  return {'ended', j[1]}
end
if j[7] and time_left(j[7]) == 0 then
  return {'ended', 'canceled'}
end
local ak, af, _, _, rk, rf = places(j[2], chunk)
local args = redis.call('HGET', ak, af)
if not args or (j[1] ~= 'open' and j[1] ~= 'sealed') then
  return damage(j[1], j[2], j[12], j[13]) or {'recorded'}
end
local r = redis.call('HMGET', rk, rf, rf .. ':lost', rf .. ':part')
local verdict = 'run'
local owner, lost, part = r[1], tonumber(r[2] or '0'), r[3] or ''
if owner and owner ~= '' then
  if owner ~= from then
    return {'busy', owner}
  end
  if owner ~= worker then
    lost = lost + 1
    redis.call('HINCRBY', KEYS[1], 'deaths', 1)
    if lost < budget then
      redis.call('HSET', rk, rf .. ':lost', lost)
    else
      verdict = 'lost'
      redis.call('HDEL', rk, rf .. ':lost')
    end
  end
end
if j[7] then
  redis.call('HDEL', KEYS[1], 'expires') -- it has begun
end
if not owner or owner == '' then
  hold(j[2], 1)
end
redis.call('HSET', rk, rf, worker, rf .. ':at', now_ms())
if j[2] ~= '1' then
  live_along(rk)
end
if verdict == 'run' then
  lost = lost + 1
end
return {verdict, lost, args, or_usual(j[2], j[3], 'json'), or_usual(j[2], j[4], '1'), part, j[5], j[6] or '', j[9] or '', reads_large(j[2], j[10], j[11])}
