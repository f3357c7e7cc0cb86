"""aldryn-apphook-reload 0.3.0, ported just enough to run on today's Django, to be measured.

It is from 2018: it imports ``imp``, which Python 3.12 has no more, its middleware has the form of
Django 1.9, and its signal's dispatch_uid is the one that django CMS took over with the code, so
that whichever comes second is not connected. All else is as it was, names included.
"""
