"""python story.py segment|rudderstack ADDRESS STEPS: the story of story.mjs, told through a library for Python."""

import importlib
import sys
import time

FAILURES = []


def main(library: str, address: str, steps: int) -> int:
    Client = importlib.import_module(f"{library}.analytics.client").Client
    # More tries than by default, since the server is away for a while; small batches, so that there are many.
    client = Client(
        "any",
        host=address,
        gzip=True,
        upload_size=5,
        upload_interval=0.05,
        max_retries=50,
        on_error=lambda error, items: FAILURES.append(error),
    )
    for n in range(steps):
        client.track(anonymous_id="a-1", event="step", properties={"n": n})
        time.sleep(0.005)
    client.page(anonymous_id="a-1", name="Shoes", properties={"url": "/shoes"})
    client.identify(user_id="u-1", anonymous_id="a-1", traits={"email": "Ada@Example.com", "plan": "pro"})
    client.alias("a-1", "u-1")
    client.group(user_id="u-1", group_id="g-1", traits={"name": "Shop"})
    client.track(user_id="u-1", event="bought")
    for n in range(steps):
        client.track(anonymous_id="a-2", event="other", properties={"n": n})
        time.sleep(0.005)
    client.identify(user_id="u-2", anonymous_id="a-2", traits={"email": "bob@example.com"})
    client.shutdown()
    for failure in FAILURES:
        print(failure, file=sys.stderr)
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
