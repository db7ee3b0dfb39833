"""The same functions over HTTP: a web page, the webui's API, and jobs that survive whatever happens.

The process that serves imports no torch: what computes runs in workers, processes of their own (worker.py), which the
server starts and follows through files (supervisor.py, feed.py).
"""
