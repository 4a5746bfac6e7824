package tasks_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"testing"
	"time"

	"github.com/distpool/distpool/tasks"
)

type (
	hasID    struct{ ID int }
	alsoID   struct{ ID int }
	deeperID struct{ hasID }
	nameless struct{ Name string }
	twoIDs   struct {
		hasID
		alsoID
	}
	// byPointer has an encoding method that only a pointer to it has.
	byPointer struct{ n int }
	textOnly  struct{ n int }
)

func (p *byPointer) MarshalJSON() ([]byte, error) { //revive:disable-line:marshal-receiver it is what is tested
	return json.Marshal(p.n)
}
func (p *byPointer) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &p.n) }
func (p *textOnly) MarshalText() ([]byte, error) { //revive:disable-line:marshal-receiver it is what is tested
	return []byte{byte('0' + p.n)}, nil
}
func (p *textOnly) UnmarshalText(data []byte) error { p.n = int(data[0] - '0'); return nil }

// encoding/json leaves both out.
func TestFieldsOfTheSameJSONNameAreRefused(t *testing.T) {
	refusedType[twoIDs](t, "hasID.ID", "alsoID.ID", "both would get lost")
	// go vet finds this one, if it is written down.
	refuses(t, reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x,omitempty"`},
	}), []string{".A and ", ".B", "(x)"})
	refusedType[struct {
		hasID
		*alsoID
	}](t, "ID")
	refusedType[struct {
		deeperID
		nameless
		B twoIDs
	}](t, "field B", "hasID.ID")
	refusedType[[]tasks.Args2[int, twoIDs]](t, "ID")
	// One of them is the one that is meant, as in Go.
	acceptedType[struct {
		hasID
		ID int
	}](t)
	acceptedType[struct {
		deeperID
		alsoID
	}](t)
	acceptedType[struct {
		A  int `json:"ID"`
		ID int
	}](t)
	acceptedType[struct {
		hasID  `json:"left"`
		alsoID `json:"right"`
	}](t)
	acceptedType[struct {
		hasID
		alsoID `json:"-"`
	}](t)
	acceptedType[struct {
		Lower int `json:"id"`
		Upper int `json:"ID"`
	}](t)
	_, err := tasks.Declare[any, int]("values").EncodeArgs([]any{twoIDs{}})
	wantContains(t, err.Error(), "hasID.ID")
}

// It is taken apart like any other embedded struct, and has no exported field.
func TestAnEmbeddedTypeWhoseMethodIsHiddenIsRefused(t *testing.T) {
	refusedType[struct {
		time.Time
		big.Int
		ID int
	}](t, "time.Time", "not called")
	refusedType[struct {
		*time.Time
		byPointer
	}](t, "*time.Time")
	refusedType[ambiguous](t, "a1")
	acceptedType[struct {
		time.Time `json:"when"`
		big.Int   `json:"n"`
		ID        int
	}](t)
}

// encoding/json calls no method of a pointer to an item of a map, nor to a value in an
// interface.
func TestAMethodThatIsNotCalledThereIsRefused(t *testing.T) {
	refusedType[map[string]big.Int](t, "*big.Int")
	refusedType[map[string]byPointer](t, "*tasks_test.byPointer")
	refusedType[map[string]textOnly](t, "*tasks_test.textOnly")
	refusedType[map[string][2]byPointer](t, "byPointer")
	refusedType[map[string]struct{ V byPointer }](t, "field V", "byPointer")
	refusedType[box[map[int]big.Int]](t, "field V", "big.Int")
	acceptedType[big.Int](t)
	acceptedType[[]big.Int](t)
	acceptedType[[2]byPointer](t)
	acceptedType[map[string]*big.Int](t)
	acceptedType[map[string][]big.Int](t)
	acceptedType[map[string]time.Time](t)
	acceptedType[box[byPointer]](t)
	acceptedType[tasks.Args2[byPointer, textOnly]](t)
	for want, v := range map[string]any{
		"*big.Int":             *big.NewInt(42),
		"byPointer":            map[string]any{"v": struct{ V byPointer }{byPointer{1}}},
		"*tasks_test.textOnly": tasks.Of2[any, any](1, textOnly{1}),
	} {
		_, err := tasks.Declare[any, int]("values").EncodeArgs([]any{v})
		if err == nil {
			t.Errorf("%s is accepted", want)
			continue
		}
		wantContains(t, err.Error(), want)
	}
	for _, v := range []any{big.NewInt(42), []big.Int{*big.NewInt(42)}, &box[byPointer]{}, tasks.Of2(byPointer{1}, 1)} {
		if _, err := tasks.Declare[any, int]("values").EncodeArgs([]any{v}); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}
