package call

import "testing"

func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"retries":3,"backoff":{"initial":5,"max":7,"factor":2,"jitter":0.5},"call_timeout":5,"hard_timeout":6}`)
	f.Add(`{"retries":9223372036854775807,"backoff":{"initial":9223372036854775807,"max":9223372036854775807,"factor":1e308,"jitter":1}}`)
	f.Add(`{"retries":-1,"hard_timeout":0}`)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err != nil {
			return
		}
		if p.MaxAttempts() < 1 {
			t.Fatalf("%s allows %d attempts", s, p.MaxAttempts())
		}
		for _, n := range []int{1, 2, 1000, 1 << 40} {
			if d := p.Delay(n); d < 0 {
				t.Fatalf("%s waits %v after %d attempts", s, d, n)
			}
		}
	})
}
