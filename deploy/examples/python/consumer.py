"""Prints each of Hearthline's events once, a line of JSON each: python consumer.py [--once]"""
import json
import os
import pathlib
import sys

from confluent_kafka import Consumer, KafkaException
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

contracts = pathlib.Path(os.environ.get("CONTRACTS", pathlib.Path(__file__).parents[3] / "proto"))
catalogue = json.loads((contracts / "topics.json").read_text())
pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString((contracts / "released.binpb").read_bytes()).file:
    pool.AddSerializedFile(file.SerializeToString())
prefix = os.environ.get("TOPIC_PREFIX", "")
message = {prefix + t["name"]: message_factory.GetMessageClass(pool.FindMessageTypeByName(t["message"])) for t in catalogue["topics"]}

consumer = Consumer({"bootstrap.servers": os.environ.get("KAFKA", "127.0.0.1:19392"), "group.id": os.environ.get("GROUP", "example-python"),
                     "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe(list(message))
# Yours belong in your database, in the transaction that applies the event; then a restart repeats nothing either.
last, waiting = {}, set()
while (record := consumer.poll(10)) is not None or "--once" not in sys.argv:
    if record is None:
        continue
    if record.error():
        raise KafkaException(record.error())
    event = message[record.topic()].FromString(record.value())
    stream, version = event.envelope.stream_id.hex(), event.envelope.stream_version
    if version <= last.get((record.topic(), stream), 0):
        continue  # delivered again
    fact, why = event.WhichOneof("fact"), None
    if event.envelope.least_reader_revision > catalogue["reader_revision"]:
        why = f"needs reader revision {event.envelope.least_reader_revision}"
    elif fact is None:
        why = "unknown fact"
    elif (record.topic(), stream) in waiting:
        why = "waits for an earlier event"
    line = {"topic": record.topic().removeprefix(prefix), "stream": stream, "version": version, "fact": None if why else fact}
    if why:
        waiting.add((record.topic(), stream))
        line["set_aside"] = why
    print(json.dumps(line, separators=(",", ":")), flush=True)
    last[(record.topic(), stream)] = version
consumer.close()
