import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.app.Connection;
import ca.uhn.hl7v2.app.Initiator;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.v24.message.ADT_A01;
import ca.uhn.hl7v2.util.Terser;
import java.util.concurrent.TimeUnit;

/** Builds admissions with HAPI's own model, sends them with its client and reads the acknowledgements with its parser. */
public class Send {
    static Message admission(HapiContext context, int number, String facility, String control) throws Exception {
        ADT_A01 message = new ADT_A01();
        message.setParser(context.getPipeParser());
        message.initQuickstart("ADT", "A01", "P");
        Terser to = new Terser(message);
        to.set("/MSH-3", "HAPI");
        to.set("/MSH-4", facility);
        to.set("/MSH-7", "20261102120000");
        to.set("/MSH-10", control);
        to.set("/EVN-2", "20261102120000");
        to.set("/PID-3-1", "998" + String.format("%07d", number));
        to.set("/PID-3-4", "HA");
        to.set("/PID-3-5", "MR");
        to.set("/PID-5-1", "Test & Sons|Brothers");
        to.set("/PID-5-2", "Person");
        to.set("/PID-7", "19400101");
        to.set("/PV1-2", "E");
        to.set("/PV1-3-4", "RN101");
        to.set("/PV1-19", "HAV" + number);
        to.set("/PV1-44", "20261102115500");
        return message;
    }

    static Terser send(Initiator initiator, Message message) throws Exception {
        return new Terser(initiator.sendAndReceive(message));
    }

    static void expect(Terser reply, String code, String control) throws Exception {
        String got = reply.get("/MSA-1") + " " + reply.get("/MSA-2");
        if (!got.equals(code + " " + control)) {
            throw new AssertionError("HAPI was answered " + got + " where " + code + " " + control + " was due");
        }
    }

    public static void main(String[] args) throws Exception {
        int messages = Integer.parseInt(args[2]);
        try (HapiContext context = new DefaultHapiContext()) {
            Connection connection = context.newClient(args[0], Integer.parseInt(args[1]), false);
            Initiator initiator = connection.getInitiator();
            initiator.setTimeout(20, TimeUnit.SECONDS);
            for (int number = 0; number < messages; number++) {
                String control = String.format("HA%05d", number);
                expect(send(initiator, admission(context, number, "RN1", control)), "AA", control);
            }
            expect(send(initiator, admission(context, 0, "RN1", "HA00000")), "AA", "HA00000");
            Terser refused = send(initiator, admission(context, 1, "XYZ99", "HAX"));
            expect(refused, "AR", "HAX");
            if (!"MSH".equals(refused.get("/ERR-1-1")) || !"4".equals(refused.get("/ERR-1-3"))) {
                throw new AssertionError("the refusal does not say that MSH-4 is wrong: " + refused.get("/ERR-1-1") + "-" + refused.get("/ERR-1-3"));
            }
            String control = String.format("HA%05d", messages);
            expect(send(initiator, admission(context, messages, "RN1", control)), "AA", control);
            connection.close();
        }
        System.out.println("HAPI 2.5.1: " + (messages + 1) + " accepted, one of them twice, 1 refused");
    }
}
