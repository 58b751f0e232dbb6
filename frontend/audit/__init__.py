"""The audit: one record for each request with caller, time, content and result, without SQL."""
