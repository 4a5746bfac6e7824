package job

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// tooLarge are parts of the replies with which Redis, or a service that speaks its
// protocol, refuses a request for its size.
var tooLarge = []string{
	"invalid bulk length",             // proto-max-bulk-len
	"invalid multibulk length",        // more than 1 Mi arguments, or 10 before AUTH
	"string exceeds maximum allowed",  // of APPEND and SETRANGE
	"max request size exceeded",       // Upstash
	"max single record size exceeded", // Upstash
	"too big",                         // proxies: "request is too big", "value too big"
	"too large",
}

// IsTooLarge reports whether err is Redis's refusal of a request for its size. The same
// request would be refused again.
func IsTooLarge(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	text := strings.ToLower(reply.Error())
	for _, part := range tooLarge {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
