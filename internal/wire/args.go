package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// MaxCalls bounds the number of calls that a frame may claim, so that a corrupt
// or hostile record cannot make a reader allocate without limit.
const MaxCalls = 1 << 30

// maxFirst bounds the index of a chunk's first call: streams have no end, and scripts count up to
// here.
const maxFirst = 1 << 53

// EncodeArgs frames the encoded arguments of the n calls that start at call
// first of the job.
func EncodeArgs(first, n int, data []byte) []byte {
	return append(appendHeader(make([]byte, 0, len(data)+24), first, n), data...)
}

// appendHeader appends the first line of a frame.
func appendHeader(b []byte, nums ...int) []byte {
	for i, n := range nums {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, '\n')
}

// ParseArgs undoes EncodeArgs. data aliases b.
func ParseArgs(b []byte) (first, n int, data []byte, err error) {
	nums, data, err := header(b, 2)
	if err == nil && nums[1] == 0 {
		err = errors.New("the header claims no calls")
	}
	if err == nil {
		err = plausible(nums[1], len(data))
	}
	if err != nil {
		return 0, 0, nil, fmt.Errorf("arguments of a chunk: %w", err)
	}
	return nums[0], nums[1], data, nil
}

// plausible refuses a number of calls that the size of the data contradicts,
// before a reader makes room for so many. A codec may compress, so the limit is
// generous; no limit applies to what is small in memory anyway.
func plausible(calls, size int) error {
	const small, perByte = 1 << 16, 1 << 12
	if calls > small && calls/perByte > size {
		return fmt.Errorf("corrupt frame: the header claims %d calls for %d bytes", calls, size)
	}
	return nil
}

// maxHeader is longer than three numbers of 64 bits can be.
const maxHeader = 64

// header reads the first line of a frame: count decimal numbers. Where there are several, the first
// one is the index of a call.
func header(b []byte, count int) (nums [3]int, rest []byte, err error) {
	_, b, _ = CutSignature(b)
	line, _, ok := bytes.Cut(b[:min(len(b), maxHeader)], []byte{'\n'})
	if !ok {
		return nums, nil, fmt.Errorf("corrupt frame: no header line in %d bytes", len(b))
	}
	rest = b[len(line)+1:]
	for i := range count {
		field := line
		if i < count-1 {
			var more bool
			if field, line, more = bytes.Cut(line, []byte{' '}); !more {
				return nums, nil, fmt.Errorf("corrupt frame: %d numbers in the header, want %d", i+1, count)
			}
		}
		most := uint64(MaxCalls)
		if i == 0 && count > 1 {
			most = maxFirst
		}
		v, err := strconv.ParseUint(string(field), 10, 62)
		if err != nil || v > most {
			return nums, nil, fmt.Errorf("corrupt frame: %q in the header is not a number from 0 to %d", field, most)
		}
		nums[i] = int(v)
	}
	return nums, rest, nil
}
