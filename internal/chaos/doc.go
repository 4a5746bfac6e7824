// Package chaos hurts a whole distpool on purpose: real Redis servers, worker
// processes and producer processes behind a proxy, under a mixed load. A schedule
// that follows from a seed alone says what is broken when. In the end everything
// that was accepted must be over, and package history checks what all processes
// have written about it.
//
// [Run] is the driver. Package load has the workers and producers.
package chaos
