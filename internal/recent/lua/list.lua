-- list: jobs that a pool has made become findable, newest last.
--
-- KEYS: 1 stream of jobs of one chunk, 2 stream of the others, 3 counters (hash):
-- one and many (jobs in the streams), cut (jobs that made room for newer ones),
-- unlisted (jobs that no pool could list), unlisted:at (when that was said last, ms).
-- ARGV: 1 entry for the first stream ("" for none), 2 jobs in it, 3 and 4 the
-- same for the second, 5 jobs that could not be listed, 6 and 7 jobs that each
-- stream holds at the most, 8 how long they hold one (ms).
-- Reply: how many jobs had to make room.
--
-- The oldest entries go, at least one for a flush that adds one, so that what a
-- flush costs does not depend on how many jobs are listed.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(tonumber(t[2]) / 1000)
local oldest = now - tonumber(ARGV[8])
local cut = 0

local function put(stream, counter, entry, n, most)
  if entry == '' then
    return
  end
  redis.call('XADD', stream, '*', 'j', entry, 'n', n)
  local total = redis.call('HINCRBY', KEYS[3], counter, n)
  for _ = 1, 64 do
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', '1')[1]
    if not first then
      redis.call('HSET', KEYS[3], counter, 0)
      break
    end
    local late = tonumber(string.match(first[1], '^%d+')) < oldest
    if total <= tonumber(most) and not late then
      break
    end
    local gone = 0
    for i = 1, #first[2], 2 do
      if first[2][i] == 'n' then
        gone = tonumber(first[2][i + 1]) or 0
      end
    end
    redis.call('XDEL', stream, first[1])
    total = redis.call('HINCRBY', KEYS[3], counter, -gone)
    if not late then
      cut = cut + gone
    end
  end
  redis.call('PEXPIRE', stream, ARGV[8])
end

put(KEYS[1], 'one', ARGV[1], ARGV[2], ARGV[6])
put(KEYS[2], 'many', ARGV[3], ARGV[4], ARGV[7])
if cut > 0 then
  redis.call('HINCRBY', KEYS[3], 'cut', cut)
end
if tonumber(ARGV[5]) > 0 then
  redis.call('HINCRBY', KEYS[3], 'unlisted', ARGV[5])
  redis.call('HSET', KEYS[3], 'unlisted:at', string.format('%.0f', now))
end
redis.call('PEXPIRE', KEYS[3], ARGV[8])
return cut
