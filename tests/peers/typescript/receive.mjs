// Accepts whatever @medplum/hl7's own server hands over, and keeps nothing.
import { Hl7Server } from '@medplum/hl7';

const server = new Hl7Server((connection) => {
  connection.addEventListener('message', ({ message }) => connection.send(message.buildAck()));
});
await server.start(Number(process.argv[2]));
console.log('@medplum/hl7');
