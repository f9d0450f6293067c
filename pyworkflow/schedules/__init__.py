"""Schedules: workflows that start when it is time, once for each due time, whatever crashes.

A schedule is a run of a system workflow. It sleeps until the next due time, starts the scheduled
workflow as an abandoned child whose run id follows from the schedule and the due time, and
continues as new now and then. Whatever is done to a schedule is a signal to that run.
"""
