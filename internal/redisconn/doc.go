// Package redisconn is the one place where distpool turns the name of a Redis
// into a client. Every program and package that takes a Redis URL takes it in
// the forms that [Parse] reads, and reports trouble in the words of [Check].
//
// go-redis writes to standard error while a Redis is away ("connection pool:
// failed to dial ..."), by one logger for the whole process. This package puts a
// logger in its place that sends such messages to the owner of the client, see
// [Target.LogTo]. A main function that wants something else calls redis.SetLogger,
// or Disable of go-redis's package logging.
package redisconn
