"""The aggregator: a leader and a helper, two services that can each see nothing alone.

``leader`` takes masked reports and releases noisy sums; ``helper``, run by the privacy office, holds the other half of
every sum. ``rounds`` is their shared state machine, ``storage`` their durable memory. Importing this package is light.
"""
