package redisconn

import (
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Dedicated returns another client of the Redis that client uses, with up to size connections of
// its own to each server. It is for requests that wait for something to happen: they hold a
// connection meanwhile, which others may need. No request is sent
// twice, and each ends with its context. The caller closes it.
func Dedicated(client redis.UniversalClient, size int) (redis.UniversalClient, error) {
	off := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxRetries = size, 0, 0, 0, -1
		o.MaintNotificationsConfig, o.ContextTimeoutEnabled = off, true
		return redis.NewClient(&o), nil
	case *redis.ClusterClient:
		o := *c.Options()
		o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns, o.MaxRetries = size, 0, 0, 0, -1
		o.MaintNotificationsConfig, o.ContextTimeoutEnabled = off, true
		return redis.NewClusterClient(&o), nil
	}
	return nil, fmt.Errorf("a Redis client of type %T: use a *redis.Client or a *redis.ClusterClient", client)
}
