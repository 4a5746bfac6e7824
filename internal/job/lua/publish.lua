-- Publishes by the given command. SPUBLISH, on a Cluster, reaches subscribers of this shard alone,
-- without the Cluster's bus. Where it reaches none, since they subscribe in the plain way, or fails,
-- on a master older than Redis 7 or without the right to it, PUBLISH follows. A user of Redis with the
-- right to neither still gets outcomes: by polling.
local function tell(publish, channel, message)
  local reached = redis.pcall(publish, channel, message)
  if publish == 'SPUBLISH' and (type(reached) ~= 'number' or reached == 0) then
    redis.pcall('PUBLISH', channel, message)
  end
end
