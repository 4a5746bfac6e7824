package tasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// refusal is what a function panics with; "" if it does not.
func refusal(f func()) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint(p)
		}
	}()
	f()
	return ""
}

// refusedType fails t unless the codec refuses a T. Every other type has its own
// instance of what it is called with, so there is no task of each here.
func refusedType[T any](t *testing.T, want ...string) { refuses(t, reflect.TypeFor[T](), want) }

func refuses(t *testing.T, typ reflect.Type, want []string) {
	t.Helper()
	if err := tasks.JSON.(tasks.TypeChecker).CheckType(typ); err == nil {
		t.Errorf("%v is accepted", typ)
	} else {
		wantContains(t, err.Error(), want...)
	}
}

func acceptedType[T any](t *testing.T) { accepts(t, reflect.TypeFor[T]()) }

func accepts(t *testing.T, typ reflect.Type) {
	t.Helper()
	if err := tasks.JSON.(tasks.TypeChecker).CheckType(typ); err != nil {
		t.Errorf("%v: %v", typ, err)
	}
}

func TestATypeThatCannotTravelIsRefusedWhenItsTaskIsMade(t *testing.T) {
	for what, make := range map[string]func(){
		"the argument": func() { tasks.Declare[event, int]("made") },
		"the result":   func() { tasks.Define("made", func(context.Context, int) (e event, err error) { return e, nil }) },
	} {
		wantContains(t, refusal(make), what+` of task "made"`, "tasks_test.event", "ID")
	}
	// A codec of another format knows its own rules.
	if text := refusal(func() { tasks.Declare[event, int]("gob", tasks.WithCodec(gobCodec{})) }); text != "" {
		t.Error(text)
	}
	// A codec that encrypts asks the one inside.
	encrypted := secure.Encrypt(tasks.JSON, secure.From(secure.Keyring{}))
	if text := refusal(func() { tasks.Declare[event, int]("sealed", tasks.WithCodec(encrypted)) }); text == "" {
		t.Error("a codec that encrypts takes what the one inside refuses")
	}
}

type (
	event struct {
		time.Time
		ID int
	}
	eventPtr struct {
		*time.Time
		ID int
	}
	eventTagged struct {
		time.Time `json:"when"`
		ID        int
	}
	eventIgnored struct {
		time.Time `json:"-"`
		ID        int
	}
	address struct {
		netip.Addr
		Port int
	}
	twice struct {
		event
		Name string
	}
	withMethod struct {
		json.Marshaler
		ID int
	}
	generic[T any]      struct{ V T }
	embedGeneric[T any] struct {
		generic[T]
		ID int
	}
	readsItself struct{ N int }
	embedReader struct {
		readsItself
		ID int
	}
	embedTuple struct {
		tasks.Args2[int, int]
		ID int
	}
	meta     struct{ Name string }
	withMeta struct {
		time.Time
		meta
	}

	onlyTime struct{ time.Time }
	ownEvent struct {
		time.Time
		ID int
	}
	ownPtr struct {
		time.Time
		ID int
	}
	namedField struct {
		When time.Time
		ID   int
	}
	private struct {
		time.Time
		id int
	}
	leftOut struct {
		time.Time
		ID int `json:"-"`
	}
	ambiguous struct {
		a1
		a2
		ID int
	}
	a1      struct{ readsItself }
	a2      struct{ readsItself }
	ownText struct {
		netip.Addr
		Port int
	}
	marker struct{}
	marked struct {
		time.Time
		marker
	}
)

func (g generic[T]) MarshalJSON() ([]byte, error)      { return json.Marshal(g.V) }
func (r *readsItself) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &r.N) }
func (e ownEvent) MarshalJSON() ([]byte, error)        { return json.Marshal(e.ID) }
func (e *ownPtr) MarshalJSON() ([]byte, error) { //revive:disable-line:marshal-receiver it is what is tested
	return json.Marshal(e.ID)
}
func (a ownText) MarshalText() ([]byte, error) { return []byte(a.Addr.String()), nil }

func TestAStructThatEmbedsACustomMarshalerIsRefused(t *testing.T) {
	refusedType[event](t, "tasks_test.event", "time.Time", "ID")
	refusedType[eventPtr](t, "*time.Time", "ID")
	refusedType[eventTagged](t, "ID")
	refusedType[eventIgnored](t, "ID") // its methods are the struct's all the same
	refusedType[address](t, "netip.Addr", "Port")
	refusedType[twice](t, "event", "Name")
	refusedType[withMethod](t, "json.Marshaler", "ID")
	refusedType[embedGeneric[string]](t, "ID")
	refusedType[embedReader](t, "readsItself", "ID")
	refusedType[embedTuple](t, "ID")
	refusedType[withMeta](t, "meta")
	// At any depth.
	refusedType[*event](t, "ID")
	refusedType[[]event](t, "ID")
	refusedType[[2]event](t, "ID")
	refusedType[map[string]*event](t, "ID")
	refusedType[struct{ Events []event }](t, "field Events", "ID")
	refusedType[box[event]](t, "field V", "ID")
	refusedType[box[box[map[int][]event]]](t, "ID")
	refusedType[tasks.Args2[int, event]](t, "ID")
	refusedType[tasks.Args3[int, []event, int]](t, "ID")
}

func TestAStructThatEncodesItselfIsAccepted(t *testing.T) {
	acceptedType[time.Time](t)
	acceptedType[onlyTime](t)
	acceptedType[ownEvent](t)
	acceptedType[ownPtr](t)
	acceptedType[namedField](t)
	acceptedType[private](t)
	acceptedType[leftOut](t)
	acceptedType[ownText](t)
	acceptedType[marked](t)
	acceptedType[generic[event]](t) // answers for its output itself
	acceptedType[[]ownEvent](t)
	acceptedType[outer](t)
	acceptedType[struct {
		Left event `json:"-"`
	}](t)
	acceptedType[url.URL](t)
}

type (
	opaque struct{ n int }
	locked struct {
		sync.Mutex
		N int
	}
	guarded struct {
		mu sync.Mutex
		N  int
	}
	base     struct{ id int }
	extended struct {
		base
		N int
	}
	own    struct{ done chan int }
	cyclic struct {
		*cyclic
		N int
	}
)

func (own) MarshalJSON() ([]byte, error) { return []byte("1"), nil }
func (*own) UnmarshalJSON([]byte) error  { return nil }

func TestWhatLivesInOneProcessIsRefused(t *testing.T) {
	refusedType[chan int](t, "chan int")
	refusedType[struct{ C chan<- int }](t, "field C", "chan")
	refusedType[func()](t, "func")
	refusedType[[]func() error](t, "func")
	refusedType[struct{ F func(int) int }](t, "field F", "func")
	refusedType[struct{ Ctx context.Context }](t, "field Ctx", "context")
	refusedType[context.Context](t, "context")
	refusedType[complex128](t, "complex128")
	refusedType[locked](t, "Mutex")
	refusedType[struct{ Mu *sync.RWMutex }](t, "sync.RWMutex")
	refusedType[sync.WaitGroup](t, "sync.WaitGroup")
	refusedType[struct{ N atomic.Int64 }](t, "field N", "atomic.Int64")
	refusedType[struct{ Out *os.File }](t, "field Out", "os.File")
	refusedType[*time.Timer](t, "chan")
	refusedType[map[string]sync.Once](t, "sync.Once")
	refusedType[tasks.Args2[int, chan int]](t, "chan")
	// Nothing of these would arrive.
	refusedType[opaque](t, "no exported field")
	refusedType[struct{ B bytes.Buffer }](t, "field B", "no exported field")

	acceptedType[guarded](t) // an unexported field does not travel
	acceptedType[extended](t)
	acceptedType[own](t)
	acceptedType[struct {
		C chan int `json:"-"`
	}](t)
	acceptedType[cyclic](t)
	acceptedType[error](t)
	acceptedType[struct{}](t)
	acceptedType[struct {
		_ [4]int
		N int
	}](t)
}

func TestWhatOnlyAValueShowsIsRefusedWhenItIsEncoded(t *testing.T) {
	user := struct{ URL url.URL }{url.URL{Host: "h", User: url.UserPassword("a", "b")}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for want, v := range map[string]any{
		"url.Userinfo":         user,
		"context":              ctx,
		"Mutex":                map[string]any{"m": []any{1, &locked{}}},
		"cannot encode func()": []any{func() {}},
		"tasks_test.event":     struct{ Any any }{[]event{{}}},
		"tasks_test.opaque":    []*opaque{nil, {1}},
		"slog.Logger":          struct{ Log *slog.Logger }{slog.Default()},
		"tasks_test.address":   tasks.Of2[any, any](1, address{}),
		"os.File":              map[string]any{"f": os.Stdout},
		"sync.WaitGroup":       []any{new(sync.WaitGroup)},
		"no exported field":    any(&[]any{struct{ Loc *time.Location }{time.FixedZone("z", 60)}}),
	} {
		_, err := tasks.Declare[any, int]("values").EncodeArgs([]any{1, v})
		if err == nil {
			t.Errorf("%s is accepted", want)
			continue
		}
		wantContains(t, err.Error(), `call 1: argument of "values"`, want)
	}
	for _, v := range []any{
		nil, 1, "x", url.URL{Host: "h"}, &url.URL{}, []*opaque{nil, {}}, ownEvent{ID: 1}, time.Now(), map[string]any{"a": []any{onlyTime{}, nil, struct{}{}}},
		struct{ Log *slog.Logger }{}, guarded{N: 1}, error(nil), tasks.Of2[any, any](nil, time.Time{}),
	} {
		if _, err := tasks.Declare[any, int]("values").EncodeArgs([]any{v}); err != nil {
			t.Errorf("%#v: %v", v, err)
		}
	}
}

// Only reflection looks at these fields.
var _ = []any{private{}.id, marked{}.marker, opaque{}.n, &(&guarded{}).mu, extended{}.id, own{}.done, cyclic{}.cyclic}
