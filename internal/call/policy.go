package call

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy is how the calls of a task, or of one job, are run. A nil field leaves
// the decision to whoever is asked next: the job, then the worker's task, then
// the defaults (no retries, no limits). It travels in the job record as JSON.
type Policy struct {
	Retries     *int           `json:"retries,omitempty"`
	Backoff     *Backoff       `json:"backoff,omitempty"`
	CallTimeout *time.Duration `json:"call_timeout,omitempty"`
	HardTimeout *time.Duration `json:"hard_timeout,omitempty"`
	// Stream says that the job is one: how many calls it has is not known when they run.
	Stream bool `json:"stream,omitempty"`
}

// Backoff is the wait before a retry. See tasks.Backoff.
type Backoff struct {
	Initial time.Duration `json:"initial"`
	Max     time.Duration `json:"max"`
	Factor  float64       `json:"factor"`
	Jitter  float64       `json:"jitter"`
}

// Over returns p with what it leaves open taken from base.
func (p Policy) Over(base Policy) Policy {
	if p.Retries == nil {
		p.Retries, p.Backoff = base.Retries, base.Backoff
	}
	if p.CallTimeout == nil {
		p.CallTimeout = base.CallTimeout
	}
	if p.HardTimeout == nil {
		p.HardTimeout = base.HardTimeout
	}
	return p
}

// Encode returns the policy as it travels; "" when it leaves all open.
func (p Policy) Encode() string {
	if p == (Policy{}) {
		return ""
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("distpool: encoding a policy: " + err.Error()) // NaN is refused when the option is made
	}
	return string(b)
}

// ParsePolicy undoes Encode.
func ParsePolicy(s string) (Policy, error) {
	if s == "" {
		return Policy{}, nil
	}
	var p Policy
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return Policy{}, fmt.Errorf("policy of the job: %w", err)
	}
	return p, p.check()
}

// check refuses what no option makes.
func (p Policy) check() error {
	b := p.Backoff
	switch {
	case p.Retries != nil && *p.Retries < 0:
		return fmt.Errorf("policy of the job: %d retries", *p.Retries)
	case b != nil && (b.Initial < 0 || b.Max < 0 || b.Factor < 0 || b.Jitter < 0 || b.Jitter > 1):
		return fmt.Errorf("policy of the job: backoff %+v", *b)
	case p.CallTimeout != nil && *p.CallTimeout <= 0:
		return fmt.Errorf("policy of the job: CallTimeout %v", *p.CallTimeout)
	case p.HardTimeout != nil && *p.HardTimeout <= 0:
		return fmt.Errorf("policy of the job: HardTimeout %v", *p.HardTimeout)
	}
	return nil
}

// CheckLimits refuses time limits that contradict each other. It is for a policy that is
// complete: the job's over the task's.
func (p Policy) CheckLimits() error {
	if p.CallTimeout != nil && p.HardTimeout != nil && *p.CallTimeout > *p.HardTimeout {
		return fmt.Errorf("CallTimeout is %v, longer than HardTimeout (%v), so it would never end a call; make it shorter, or HardTimeout longer (each may be set by the job or by the task)", *p.CallTimeout, *p.HardTimeout)
	}
	return nil
}

// MaxAttempts is how often a call may run.
func (p Policy) MaxAttempts() int {
	if p.Retries == nil {
		return 1
	}
	return max(*p.Retries, *p.Retries+1) // the largest int is for ever, and must not overflow
}

// Delay is the wait after the given number of failed attempts.
func (p Policy) Delay(attempts int) time.Duration {
	if p.Backoff == nil {
		return 0
	}
	b := backoff.ExponentialBackOff{
		InitialInterval: p.Backoff.Initial, MaxInterval: p.Backoff.Max,
		Multiplier: p.Backoff.Factor, RandomizationFactor: p.Backoff.Jitter,
	}
	b.Reset()
	var d time.Duration
	for range min(attempts, 64) { // by then it is Max, whatever the factor
		d = b.NextBackOff()
	}
	if d < 0 {
		return p.Backoff.Max // the jitter of a very long wait went beyond what a Duration holds
	}
	return min(d, p.Backoff.Max)
}
