package e2e_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
)

// The callback runs where outcomes are read: what it does must not end that.
func TestABadOnRefusedHarmsNoHandle(t *testing.T) {
	eachSigned(t, func(t *testing.T, e *signed) {
		other := secure.Keyring{Sign: secure.NewKey("k2"), Accept: []secure.Key{e.ring.Sign}}
		w := e.worker(t, other)
		var asked atomic.Int32
		for _, how := range []string{badPanic, badGoexit} {
			p := e.env.pool(t, func(c *producer.Config) {
				c.Keyring = e.ring
				c.OnRefused = func(secure.Refusal) {
					asked.Add(1)
					misbehave(how)
				}
			})
			for range 2 {
				if _, err := producer.Apply(ctx(t), p, square, 3); !errors.Is(err, results.ErrUntrusted) {
					t.Errorf("%s: %v, want ErrUntrusted", how, err)
				}
			}
			if asked.Swap(0) == 0 {
				t.Errorf("%s: OnRefused was not called", how)
			}
		}
		must(t, w.stop(t))
	})
}
