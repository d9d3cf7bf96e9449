"""A cluster that speaks Kafka's protocol: the mock cluster of librdkafka, which comes with the package confluent-kafka.

Kafka itself is in no package that the tests could install. The mock cluster speaks the real protocol over TCP, and the
real library produces to it: batches, their compressions and offsets are the real thing. It keeps all in memory, and it
has no users, no encryption, no retention by itself, and no markers at the end of transactions.

Prints where it listens. Then each line of standard input is a JSON list, which is answered with a line: `produce` and
its arguments, or a function of the mock cluster without `rd_kafka_mock_` and what follows the cluster.
"""

import ctypes
import glob
import json
import os
import sys

import confluent_kafka

package = os.path.dirname(confluent_kafka.__file__)
found = glob.glob(f"{package}/../confluent_kafka.libs/librdkafka*") + glob.glob(f"{package}/.dylibs/librdkafka*")
library = ctypes.CDLL(found[0])
library.rd_kafka_conf_new.restype = ctypes.c_void_p
library.rd_kafka_new.restype = ctypes.c_void_p
library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p

error = ctypes.create_string_buffer(512)
owner = library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), error, ctypes.c_size_t(512))
assert owner, error.value
cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(owner), int(sys.argv[1])))
servers = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
producers = {}


def produce(topic, partition, codec, values):
    """One batch; gives 0, or what went wrong."""
    if codec not in producers:
        producers[codec] = confluent_kafka.Producer(
            {
                "bootstrap.servers": servers,
                "compression.type": codec,
                "linger.ms": 20,
                "message.max.bytes": 16 << 20,
            }
        )
    problems = []
    for value in values:
        producers[codec].produce(
            topic,
            value.encode(),
            key=b"key",
            partition=partition,
            headers=[("ce_id", b"7"), ("none", None)],
            on_delivery=lambda error, _: error and problems.append(str(error)),
        )
    left = producers[codec].flush(120)
    return problems or left


def call(name, *arguments):
    """The code that the function gives; 0 where it went well."""
    if name == "topic_delete":
        # One that knows the topic would make it again.
        producers.clear()
    typed = [argument.encode() if isinstance(argument, str) else ctypes.c_int64(argument) for argument in arguments]
    return getattr(library, f"rd_kafka_mock_{name}")(cluster, *typed)


print(servers, flush=True)
for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(produce(*arguments) if name == "produce" else call(name, *arguments)), flush=True)
