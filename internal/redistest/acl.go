package redistest

import (
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Rules reads the lines of a page that begin with "user ", as an ACL file has them:
// by user, the arguments of ACL SETUSER. Pairs of old and new strings are replaced.
func Rules(t testing.TB, page string, replace ...string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for line := range strings.Lines(strings.NewReplacer(replace...).Replace(string(text))) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "user" {
			rules[f[1]] = f[2:]
		}
	}
	return rules
}

// SetUser gives the user these rules, as Rules returns them.
func SetUser(t testing.TB, c redis.UniversalClient, user string, rules []string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", user}
	inside := false // the parentheses of a selector, which is one argument
	for _, r := range rules {
		if inside {
			args[len(args)-1] = args[len(args)-1].(string) + " " + r
		} else {
			args = append(args, r)
		}
		inside = (inside || strings.HasPrefix(r, "(")) && !strings.HasSuffix(r, ")")
	}
	if err := c.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("user %s: %v", user, err)
	}
}
