package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
	"github.com/redis/go-redis/v9"
)

// The worker processes of the suite have the same binary, so these keys are known
// to all of them.
func sealingKey(id string, b byte) secure.Key {
	return secure.Key{ID: id, Secret: []byte(strings.Repeat(string(b), secure.MinSecret))}
}

const secretText = "TOPSECRET"

func runSecret(ctx context.Context, s string) (string, error) {
	how, rest, _ := strings.Cut(s, ":")
	switch {
	case how == "fail":
		return "", fmt.Errorf("%w: %s", errStock, rest)
	case how == "panic":
		panic(rest)
	case how == "retry" && tasks.Info(ctx).Attempt < 3:
		return "", errors.New(rest)
	case how == "slow": // so that there are checkpoints
		time.Sleep(700 * time.Millisecond)
	}
	return "out " + s, nil
}

func encrypted(ring secure.Keyring) tasks.Option {
	return tasks.WithCodec(secure.Encrypt(tasks.JSON, secure.From(ring)))
}

var (
	sealed1 = secure.Keyring{Sign: sealingKey("s1", 'a')}
	secret  = tasks.Define("secret", runSecret, encrypted(sealed1))
	// The same task for producers with other keys.
	secretNext    = tasks.Declare[string, string]("secret", encrypted(secure.Keyring{Sign: sealingKey("s2", 'b'), Accept: []secure.Key{sealingKey("s1", 'a')}}))
	secretForeign = tasks.Declare[string, string]("secret", encrypted(secure.Keyring{Sign: sealingKey("s1", 'c')}))
	secretPlain   = tasks.Declare[string, string]("secret")
)

func init() { allTasks = append(allTasks, secret) }

// spy collects everything that Redis holds and publishes, as text.
func (e *env) everything(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, key := range e.keys(t, "*") {
		fmt.Fprintln(&b, key)
		switch e.rdb.Type(ctx(t), key).Val() {
		case "string":
			fmt.Fprintln(&b, e.rdb.Get(ctx(t), key).Val())
		case "hash":
			fmt.Fprintln(&b, e.rdb.HGetAll(ctx(t), key).Val())
		case "list":
			fmt.Fprintln(&b, e.rdb.LRange(ctx(t), key, 0, -1).Val())
		case "zset":
			fmt.Fprintln(&b, e.rdb.ZRange(ctx(t), key, 0, -1).Val())
		}
	}
	return b.String()
}

func TestNothingThatIsEncryptedIsReadableInRedis(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) { encryptedIsUnreadable(t, e) })
}

func encryptedIsUnreadable(t *testing.T, e *env, change ...func(*workerSpec)) {
	t.Helper()
	p := e.pool(t)
	args := []string{"ok:" + secretText, "fail:" + secretText, "panic:" + secretText, "retry:" + secretText, "slow:" + secretText, "slow:" + secretText}
	m, err := producer.MapAsync(ctx(t), p, secret, args, producer.ChunkSize(6), producer.Retry(2, tasks.Every(400*time.Millisecond)), producer.ID("secret-job"))
	if err != nil {
		t.Fatal(err)
	}
	apply, err := producer.ApplyAsync(ctx(t), p, secret, args[1])
	if err != nil {
		t.Fatal(err)
	}
	sub := e.rdb.PSubscribe(ctx(t), "*")
	if _, ok := e.rdb.(*redis.ClusterClient); ok {
		_ = sub.Close()
		sub = e.rdb.SSubscribe(ctx(t), job.ReplyChannel(e.lane(t, m.ID()), e.field(t, m.ID(), "reply")))
	}
	defer sub.Close()
	if _, err := sub.Receive(ctx(t)); err != nil {
		t.Fatal(err)
	}
	readable := func(when string) {
		t.Helper()
		if text := e.everything(t); strings.Contains(text, secretText) {
			i := strings.Index(text, secretText)
			t.Errorf("%s, Redis holds\n%.200s", when, text[max(0, i-150):])
		}
	}
	readable("before the run")
	e.worker(t, 2, change...)
	for done := false; !done; {
		select {
		case <-m.Done():
			done = true
		case <-time.After(100 * time.Millisecond):
			readable("during the run")
		}
	}
	got, err := m.Get(ctx(t))
	me, ok := errors.AsType[*results.MapError](err)
	if !ok || len(me.Errors) != 2 || !errors.Is(err, errStock) {
		t.Fatalf("%v, want two failures", err)
	}
	if e := me.Errors[1]; e.Kind != results.KindPanic || e.Message != secretText || !strings.Contains(e.Stack, "runSecret") {
		t.Errorf("the panic arrived as %+v", e)
	}
	same(t, "the values", strings.Join(got, "|"), nil, "out ok:"+secretText+"|||out retry:"+secretText+"|out slow:"+secretText+"|out slow:"+secretText)
	_, err = apply.Get(ctx(t))
	mentions(t, err, secretText)
	readable("after the run")
	messages := 0
	for c := sub.Channel(); ; messages++ {
		select {
		case msg := <-c:
			if strings.Contains(msg.Payload, secretText) {
				t.Errorf("published: %s", msg.Payload)
			}
			continue
		case <-time.After(200 * time.Millisecond):
		}
		break
	}
	if messages == 0 {
		t.Error("nothing was published: the test listens in vain")
	}
}

func TestEncryptedJobsOfAllKindsAndOfTheNextKeyWork(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		args := []string{"a", "b", "c"}
		for v, err := range producer.IMap(ctx(t), p, secret, func(yield func(string) bool) {
			for _, a := range args {
				if !yield(a) {
					return
				}
			}
		}) {
			same(t, "a value of a stream", v, err, "out "+args[0])
			args = args[1:]
		}
		// The same job, submitted by a program that has moved on to the next key.
		id := producer.ID("twice-" + e.queue)
		v, err := producer.Apply(ctx(t), p, secret, "x", id)
		same(t, "the first", v, err, "out x")
		v, err = producer.Apply(ctx(t), e.pool(t), secretNext, "x", id)
		same(t, "the second", v, err, "out x")
		if _, err = producer.Apply(ctx(t), p, secretNext, "y", id); !errors.Is(err, producer.ErrIDTaken) {
			t.Errorf("other arguments under the same ID: %v, want ErrIDTaken", err)
		}
	})
}

func TestAWrongKeyIsAnErrorThatNamesIt(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		_, err := producer.Apply(ctx(t), p, secretNext, "x") // with key s2, which the worker has not
		mentions(t, err, `"s2"`, "decrypted", "not on the keyring", "s1")
		_, err = producer.Apply(ctx(t), p, secretForeign, "x")
		mentions(t, err, `"s1"`, "another secret")
		_, err = producer.Apply(ctx(t), p, secretPlain, "x")
		mentions(t, err, `"json"`, `"aesgcm:json"`)
		r, err := producer.ApplyAsync(ctx(t), p, secret, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		theirs, err := producer.Attach(ctx(t), e.pool(t), secretForeign, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = theirs.Get(ctx(t)); !errors.Is(err, results.ErrUntrusted) || !errors.Is(err, secure.ErrTampered) {
			t.Errorf("a handle with a wrong key: %v, want ErrUntrusted and ErrTampered", err)
		}
		mentions(t, err, `"s1"`, r.ID())
	})
}

// What is encrypted for one place opens in no other, even without signatures.
func TestCiphertextsCannotBeMoved(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		if !suiteKeyring.IsZero() {
			t.Skip("signing finds it first")
		}
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, secret, []string{"a", "b", "fail:c"}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.setField(t, m.ID(), "args:0", strings.Replace(e.field(t, m.ID(), "args:1"), "1 1\n", "0 1\n", 1))
		e.worker(t, 2)
		got, err := m.Get(ctx(t))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != 2 || me.Errors[0].Call != 0 || me.Errors[0].Kind != results.KindBadArgument || got[1] != "out b" {
			t.Fatalf("%v, %v; want call 0 refused, and only that", got, err)
		}
		// A failure that is made to look like a success.
		e.setField(t, m.ID(), "out:2", strings.Replace(e.field(t, m.ID(), "out:1"), "1 1 0\n", "2 1 0\n", 1))
		again, err := producer.AttachMap(ctx(t), e.pool(t), secret, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Get(ctx(t)); !errors.Is(err, results.ErrUntrusted) {
			t.Errorf("%v, %v; want ErrUntrusted", got, err)
		}
	})
}
